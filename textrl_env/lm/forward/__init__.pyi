from .decoding import CachedDecoder as CachedDecoder
from .packing import read_logits as read_logits, read_states as read_states, token_logprobs as token_logprobs
from .suitability import require_causal as require_causal
from .trunk_cache import cache_for as cache_for

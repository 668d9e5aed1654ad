from .caches import cache_for as cache_for
from .decoding import CachedDecoder as CachedDecoder
from .packing import read_states as read_states
from .scoring import read_logits as read_logits, token_logprobs as token_logprobs

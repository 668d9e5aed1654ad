from .conversations import (
    Prompt as Prompt,
    as_completion as as_completion,
    completion_text as completion_text,
    render as render,
)
from .decoding import decode_completion as decode_completion
from .encoding import (
    encode_completion as encode_completion,
    encode_pair as encode_pair,
    encode_prompt as encode_prompt,
    encode_prompts as encode_prompts,
)
from .tokenizer import Tokenizer as Tokenizer, end_token_ids as end_token_ids, pad_id as pad_id

from .conversations import (
    Message as Message,
    Prompt as Prompt,
    as_completion as as_completion,
    completion_text as completion_text,
    printable as printable,
    render as render,
)
from .tokenization import (
    Tokenizer as Tokenizer,
    encode_completion as encode_completion,
    encode_prompt as encode_prompt,
    encode_rendered as encode_rendered,
    encode_texts as encode_texts,
    pad_id as pad_id,
)

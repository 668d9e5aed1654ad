from .tokenization import (
    Message as Message,
    Prompt as Prompt,
    Tokenizer as Tokenizer,
    as_completion as as_completion,
    completion_text as completion_text,
    encode_completion as encode_completion,
    encode_prompt as encode_prompt,
    encode_rendered as encode_rendered,
    encode_texts as encode_texts,
    pad_id as pad_id,
    printable as printable,
    render as render,
)

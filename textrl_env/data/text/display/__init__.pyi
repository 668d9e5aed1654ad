from .plain_text import message_text as message_text, printable as printable, token_texts as token_texts

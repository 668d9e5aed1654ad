from .cells import (
    is_given as is_given,
    parse_number as parse_number,
    read_flag as read_flag,
    read_list as read_list,
    read_number as read_number,
)
from .conversations import (
    Conversation as Conversation,
    find_messages_fault as find_messages_fault,
    find_prompt_fault as find_prompt_fault,
    find_text_fault as find_text_fault,
    split_messages as split_messages,
    split_prompt as split_prompt,
    split_row as split_row,
)

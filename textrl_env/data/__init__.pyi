from .columns import find_prompt_fault as find_prompt_fault, find_text_fault as find_text_fault
from .containers import iterate_rows as iterate_rows
from .prompt_ids import PromptIds as PromptIds, PromptSource as PromptSource
from .prompts import PromptDataset as PromptDataset
from .rows import (
    OnBadRow as OnBadRow,
    Row as Row,
    read_rows as read_rows,
)
from .split import split_rows as split_rows, warn_of_shared_prompts as warn_of_shared_prompts

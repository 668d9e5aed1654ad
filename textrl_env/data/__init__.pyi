from .containers import iterate_rows as iterate_rows
from .prompt_ids import PromptIds as PromptIds, PromptSource as PromptSource
from .prompts import PromptDataset as PromptDataset
from .row_formats import Fault as Fault, parse_rows as parse_rows
from .rows import (
    OnBadRow as OnBadRow,
    Row as Row,
    check_rows as check_rows,
    find_prompt_fault as find_prompt_fault,
    find_text_fault as find_text_fault,
    read_rows as read_rows,
)

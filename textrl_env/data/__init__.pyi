from .faults import prompt_fault as prompt_fault, text_fault as text_fault
from .prompt_ids import PromptIds as PromptIds, PromptSource as PromptSource
from .prompts import PromptDataset as PromptDataset
from .row_formats import Fault as Fault, parse as parse
from .rows import OnBadRow as OnBadRow, Row as Row, checked_rows as checked_rows, read_rows as read_rows

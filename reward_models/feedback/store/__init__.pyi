from .database import StorageError as StorageError, Store as Store
from .items import Item as Item, LabelTask as LabelTask, make_items as make_items, read_items as read_items
from .judgements import Judgement as Judgement, rank_groups as rank_groups
from .label_log import AnswerKey as AnswerKey, LabelEvent as LabelEvent, LabelLog as LabelLog, name_fault as name_fault

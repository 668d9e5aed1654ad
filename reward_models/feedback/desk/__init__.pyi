from .assignment import Plan as Plan
from .desk import Conflict as Conflict, Desk as Desk, Question as Question
from .disagreement import disagreement as disagreement
from .figures import figures as figures
from .judgements import (
    N_POINTS as N_POINTS,
    REASONS as REASONS,
    TAGS as TAGS,
    Item as Item,
    Judgement as Judgement,
    Task as Task,
    item_fault as item_fault,
    judgement_of as judgement_of,
    ranks_of as ranks_of,
)
from .log import Event as Event, Key as Key, Log as Log, event_of as event_of, name_fault as name_fault
from .sources import items_of as items_of, read_items as read_items
from .store import StorageError as StorageError, Store as Store
from .terminal import label_in_terminal as label_in_terminal

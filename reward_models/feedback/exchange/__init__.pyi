from .argilla import from_argilla as from_argilla, to_argilla as to_argilla
from .exports import preferences as preferences
from .imported import Columns as Columns, add_to as add_to, by_item as by_item, read_imported as read_imported
from .label_studio import (
    from_label_studio as from_label_studio,
    labeling_config as labeling_config,
    to_label_studio as to_label_studio,
)

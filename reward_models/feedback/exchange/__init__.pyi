from .files import LabelForm as LabelForm, export_labels as export_labels, import_labels as import_labels
from .imported_answers import ImportedAnswer as ImportedAnswer, TextColumns as TextColumns
from .label_studio import (
    from_label_studio as from_label_studio,
    make_labeling_config as make_labeling_config,
    to_label_studio as to_label_studio,
)
from .training_rows import (
    export_events as export_events,
    export_preferences as export_preferences,
    export_rankings as export_rankings,
    export_ratings as export_ratings,
)

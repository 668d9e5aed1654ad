from .experiment import (
    Experiment as Experiment,
    as_record as as_record,
    digest_rows as digest_rows,
    require_same_experiment as require_same_experiment,
)
from .folder import (
    check as check,
    fitting as fitting,
    load as load,
    optimizer_tensors as optimizer_tensors,
    read_state as read_state,
    save as save,
)
from .run_checkpoints import CheckpointSaver as CheckpointSaver, newest_good as newest_good

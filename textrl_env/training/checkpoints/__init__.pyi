from .folder import (
    check as check,
    load as load,
    optimizer_tensors as optimizer_tensors,
    read_state as read_state,
    save as save,
    writing as writing,
)
from .run_checkpoints import newest_good as newest_good
from .saver import CheckpointSaver as CheckpointSaver

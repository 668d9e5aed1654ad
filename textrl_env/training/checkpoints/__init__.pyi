from .folder import (
    check as check,
    load as load,
    optimizer_tensors as optimizer_tensors,
    read_state as read_state,
    save as save,
    writing as writing,
)
from .run_checkpoints import CheckpointSaver as CheckpointSaver, newest_good as newest_good

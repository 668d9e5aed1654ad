from .loop import OnPolicyAlgorithm as OnPolicyAlgorithm
from .options import OnPolicyOptions as OnPolicyOptions, Schedule as Schedule
from .run_log import (
    explained_variance as explained_variance,
    flush_log as flush_log,
    run_logger as run_logger,
)
from .training_state import (
    SaveCheckpoints as SaveCheckpoints,
    TrainingPlan as TrainingPlan,
    TrainingState as TrainingState,
)

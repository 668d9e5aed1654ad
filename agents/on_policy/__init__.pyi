from .loop import OnPolicyAlgorithm as OnPolicyAlgorithm
from .options import OnPolicyOptions as OnPolicyOptions
from .plan import Plan as Plan
from .run_log import run_logger as run_logger
from .save_checkpoints import SaveCheckpoints as SaveCheckpoints

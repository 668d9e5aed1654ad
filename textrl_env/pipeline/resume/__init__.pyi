from .checkpoints import CheckpointOptions as CheckpointOptions, resume_algorithm as resume_algorithm
from .experiment import describe_experiment as describe_experiment

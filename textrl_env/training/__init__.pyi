from .finiteness import require_finite as require_finite
from .interrupt import Interrupt as Interrupt
from .launch import local_index as local_index, process_count as process_count, process_index as process_index
from .optimizer import adamw as adamw, rounded_copy as rounded_copy
from .progress import progress_bar as progress_bar, progress_columns as progress_columns
from .schedule import one_cycle as one_cycle
from .seeding import generator_states as generator_states, restore_generators as restore_generators, seeded as seeded
from .sharding import Skeleton as Skeleton, sharded_like as sharded_like, whole as whole
from .supervised import Metrics as Metrics, SupervisedTraining as SupervisedTraining

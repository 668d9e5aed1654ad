from .optimizer import adamw as adamw, one_cycle as one_cycle, require_finite as require_finite
from .seeding import generator_states as generator_states, restore_generators as restore_generators, seeded as seeded
from .supervised import Metrics as Metrics, SupervisedTraining as SupervisedTraining
from .terminal import Interrupt as Interrupt, progress_bar as progress_bar, progress_columns as progress_columns

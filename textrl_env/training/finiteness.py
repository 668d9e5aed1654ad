"""What training does when a loss or its gradient is not a number: it stops, before the step is taken."""

import math

from textrl_env.errors import InputError


def require_finite(loss: float, gradient_norm: float, *, at: str, last_checkpoint: object = None) -> None:
    """Raises InputError unless both are finite, naming the step and the batch (`at`) and the last good checkpoint."""
    if not math.isfinite(loss) or not math.isfinite(gradient_norm):
        raise InputError(
            f"the loss is {loss}, its gradient norm {gradient_norm} at {at}; the parameters are those of before this "
            f"step, and the last checkpoint is {last_checkpoint or 'none'}. Lower learning_rate, or look at this batch"
        )

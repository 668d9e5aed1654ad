"""Numbers of the processes that train one model; no torch, so that the command line can ask at once.

accelerate and torchrun number the processes in variables of the environment.
"""

import os


def process_count() -> int:
    """Counts the processes that were launched together; 1 where nobody launched several."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """Returns the number of this process among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_index() -> int:
    """Returns the number of this process among those on this machine, from 0; it has the GPU of that number."""
    return int(os.environ.get("LOCAL_RANK", "0"))

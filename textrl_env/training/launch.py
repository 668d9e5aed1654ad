"""Which of several processes this one is: accelerate and torchrun say it in variables of the environment."""

import os


def process_count() -> int:
    """How many were launched together; 1 where nobody launched several."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_index() -> int:
    """Which of those on this machine, from 0; it has the GPU of that number."""
    return int(os.environ.get("LOCAL_RANK", "0"))

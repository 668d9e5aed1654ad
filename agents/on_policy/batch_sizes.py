"""Whether the sizes of an update go together."""

from textrl_env.errors import InputError, require_at_least


def check_sizes(
    *, n_episodes: int, group_size: int, batch_size: int, microbatch_size: int, n_epochs: int, processes: int
) -> None:
    """Raises InputError, naming the option, unless minibatches and groups are whole, in every process too."""
    require_at_least(
        1, n_episodes=n_episodes, group_size=group_size, batch_size=batch_size, microbatch_size=microbatch_size,
        n_epochs=n_epochs,
    )  # fmt: skip
    for name, size in {"batch_size": batch_size, "group_size": group_size}.items():
        if n_episodes % size:
            raise InputError(f"{name} must divide n_episodes={n_episodes}, got {size}")
    if batch_size % processes:
        raise InputError(f"batch_size must be a multiple of the {processes} processes, got {batch_size}")
    if n_episodes // group_size % processes:
        raise InputError(
            f"n_episodes={n_episodes} with group_size={group_size} makes {n_episodes // group_size} groups; their "
            f"number must be a multiple of the {processes} processes"
        )

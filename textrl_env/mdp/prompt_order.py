"""Orders in which a slot of the environment goes through the prompts."""

from typing import Any, Literal, Protocol

import numpy as np

from textrl_env.errors import InputError

OrderName = Literal["uniform", "epoch"]


class PromptOrder(Protocol):
    """A slot's prompts, one after another; all randomness comes from the generator that `draw` is called with."""

    def draw(self, rng: np.random.Generator) -> int:
        """Returns the index of the next prompt."""
        ...

    def state(self) -> dict[str, Any]:
        """Returns, for JSON, the part of the next draws that does not come from the generator."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where the order that returned `state` was."""
        ...


class UniformOrder:
    """A `PromptOrder` in which every one of n prompts is equally likely, whatever came before."""

    def __init__(self, n: int) -> None:
        self._n = n

    def draw(self, rng: np.random.Generator) -> int:
        """Returns an index drawn from all."""
        return int(rng.integers(self._n))

    def state(self) -> dict[str, Any]:
        """Returns nothing: draws depend on the generator alone."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Does nothing."""


class EpochOrder:
    """A `PromptOrder` with every prompt once in each n draws, in a random order drawn anew for every epoch.

    The Fisher-Yates shuffle, one exchange a draw: all n! orders are equally likely, no draw takes longer than another,
    and memory grows with the draws made, not with n times the slots.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._position = 0
        self._exchanges: dict[int, int] = {}  # position -> prompt, where it is not the prompt of that number

    def draw(self, rng: np.random.Generator) -> int:
        """Returns an index drawn from those that are left in this epoch."""
        position = self._position
        chosen = int(rng.integers(position, self._n))
        first = self._exchanges.pop(position, position)
        index = first if chosen == position else self._exchanges.get(chosen, chosen)
        if chosen != position:
            self._exchanges[chosen] = first
        self._position = (position + 1) % self._n
        return index

    def state(self) -> dict[str, Any]:
        """Returns the place in the epoch, and the exchanges that later draws meet."""
        return {"drawn": self._position, "moved": [list(pair) for pair in self._exchanges.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on at the place that `state` holds."""
        self._position, self._exchanges = state["drawn"], dict(state["moved"])


class SharedOrder:
    """Another order's draws, spread over every `count`-th prompt from `index` on."""

    def __init__(self, order: PromptOrder, *, index: int, count: int) -> None:
        self._order, self._index, self._count = order, index, count

    def draw(self, rng: np.random.Generator) -> int:
        """Returns the other order's next draw, as one of this share's prompts."""
        return self._index + self._count * self._order.draw(rng)

    def state(self) -> dict[str, Any]:
        """Returns the other order's state."""
        return self._order.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Restores the other order."""
        self._order.restore(state)


ORDERS: dict[OrderName, type[UniformOrder] | type[EpochOrder]] = {"uniform": UniformOrder, "epoch": EpochOrder}


def new_order(name: OrderName, n: int, *, index: int = 0, count: int = 1) -> PromptOrder:
    """Returns the order called `name`, at its beginning.

    Args:
        name: of the order.
        n: prompts there are.
        index: the first prompt of the order's share.
        count: the share is every `count`-th prompt from there on.

    Raises:
        InputError: no such order, or fewer than `count` prompts.
    """
    if name not in ORDERS:
        raise InputError(f"prompt_order must be 'uniform' or 'epoch', got {name!r}")
    if n < count:
        raise InputError(f"{n} prompts cannot be shared out to {count} environments; give more prompts")
    order = ORDERS[name](len(range(index, n, count)))
    return SharedOrder(order, index=index, count=count) if count > 1 else order

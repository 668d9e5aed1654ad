"""In which order a slot of the environment goes through the prompts."""

from typing import Any, Literal, Protocol

import numpy as np

from textrl_env.errors import InputError

OrderName = Literal["uniform", "epoch"]


class PromptOrder(Protocol):
    """One slot's prompts, one after another; all randomness comes from the generator it is given."""

    def draw(self, rng: np.random.Generator) -> int:
        """The index of the next prompt."""
        ...

    def state(self) -> dict[str, Any]:
        """What the next draws depend on beside the generator, for JSON."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where the order that returned `state` was."""
        ...


class UniformOrder:
    """Every prompt equally likely, whatever came before."""

    def __init__(self, n: int) -> None:
        self._n = n

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self._n))

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class EpochOrder:
    """Every prompt once in each n draws, in a random order that is drawn anew for every epoch.

    The Fisher-Yates shuffle, one exchange a draw: all n! orders are equally likely, no draw takes longer than another,
    and memory grows with the draws made, not with n times the slots.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._drawn = 0
        self._moved: dict[int, int] = {}  # position -> prompt, where it is not the prompt of that number

    def draw(self, rng: np.random.Generator) -> int:
        chosen = int(rng.integers(self._drawn, self._n))
        first = self._moved.pop(self._drawn, self._drawn)
        index = first if chosen == self._drawn else self._moved.get(chosen, chosen)
        if chosen != self._drawn:
            self._moved[chosen] = first
        self._drawn = (self._drawn + 1) % self._n
        return index

    def state(self) -> dict[str, Any]:
        return {"drawn": self._drawn, "moved": [list(pair) for pair in self._moved.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        self._drawn, self._moved = state["drawn"], dict(state["moved"])


class SharedOrder:
    """Another order's draws, spread over every `count`-th prompt from `index` on."""

    def __init__(self, order: PromptOrder, *, index: int, count: int) -> None:
        self._order, self._index, self._count = order, index, count

    def draw(self, rng: np.random.Generator) -> int:
        return self._index + self._count * self._order.draw(rng)

    def state(self) -> dict[str, Any]:
        return self._order.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._order.restore(state)


ORDERS: dict[OrderName, type[UniformOrder] | type[EpochOrder]] = {"uniform": UniformOrder, "epoch": EpochOrder}


def new_order(name: OrderName, n: int, *, index: int = 0, count: int = 1) -> PromptOrder:
    """The order called `name` over n prompts, or over every `count`-th of them from `index` on, at its beginning."""
    if name not in ORDERS:
        raise InputError(f"prompt_order must be 'uniform' or 'epoch', got {name!r}")
    if n < count:
        raise InputError(f"{n} prompts cannot be shared out to {count} environments; give more prompts")
    order = ORDERS[name](len(range(index, n, count)))
    return SharedOrder(order, index=index, count=count) if count > 1 else order

"""Who takes part, and what was promised about whom."""

from dataclasses import dataclass, field
from typing import Literal

FOUR, SHARED, THREE = "four", "shared trunk", "no critic"
LEGEND = (
    "networks: four: policy, critic, reference, reward model; shared trunk: the critic is a head on the policy; "
    "no critic: policy, reference, reward model"
)


@dataclass(frozen=True)
class Variant:
    """One row of the table: a program and how it is called."""

    module: str
    """Of `iteration`; run as a process of its own."""
    arguments: tuple[str, ...] = ()
    venv: Literal["", ".venv-bench", ".venv-bench-current"] = ""
    """The virtual environment that it needs; empty for this process's own."""
    nets: str = FOUR
    precision: str = "float32"
    environment: dict[str, str] = field(default_factory=dict)
    sizes: tuple[str, ...] = ("XS", "S", "M")
    most_rounds: int | None = None
    """Rounds in which it takes part, the first one included, for what would take the time of all others together."""


def _trl(*arguments: str, **options: object) -> Variant:
    return Variant("trl_ppo", arguments, ".venv-bench", **options)  # type: ignore[arg-type]


def _groups(kind: str, *arguments: str) -> Variant:
    return Variant("trl_groups", (kind, *arguments), ".venv-bench-current", nets=THREE)


AUTOCAST = {"ACCELERATE_MIXED_PRECISION": "bf16"}

VARIANTS = {
    "ours": Variant("ours", ("ppo",)),
    "ours bf16": Variant("ours", ("ppo", "--precision", "bfloat16"), precision="bfloat16"),
    "ours shared": Variant("ours", ("ppo", "--critic", "shared"), nets=SHARED),
    "ours shared bf16": Variant(
        "ours", ("ppo", "--critic", "shared", "--precision", "bfloat16"), nets=SHARED, precision="bfloat16"
    ),
    "floor": Variant("floor"),
    "trl ppo": _trl(),
    "trl ppo, no gc.collect": _trl("--no-collect"),
    "trl ppo, fused activation": _trl("--fused-activation"),
    "trl ppo bf16": _trl(precision="autocast to bfloat16", environment=AUTOCAST),
    "trl ppo bf16 weights": _trl("--weights", "bfloat16", precision="bfloat16"),
    "ours grpo": Variant("ours", ("grpo",), nets=THREE),
    "ours rloo": Variant("ours", ("rloo",), nets=THREE),
    "trl grpo": _groups("grpo"),
    "trl grpo, fused activation": _groups("grpo", "--fused-activation"),
    "trl rloo": _groups("rloo"),
    "trl rloo, fused activation": _groups("rloo", "--fused-activation"),
    "sb3 on the vector env": Variant("sb3", ("vector",), sizes=("XS",)),
    "sb3 naive": Variant("sb3", ("naive",), sizes=("XS",), most_rounds=2),
}


@dataclass(frozen=True)
class Bar:
    """`slower` takes at least, or at most, `factor` times as long as `faster` at a size."""

    slower: str
    kind: Literal["at least", "at most"]
    factor: float
    faster: str
    size: str
    phase: str | None = None
    """Of the iteration; None for the whole."""

    def holds(self, ratio: float) -> bool:
        """Whether a measured ratio keeps the promise."""
        return ratio >= self.factor if self.kind == "at least" else ratio <= self.factor

    def __str__(self) -> str:
        subject = f"{self.phase} of {self.slower}" if self.phase else self.slower
        return f"{subject} / {self.faster}"


def _slower(slower: str, faster: str, **factors: float) -> list[Bar]:
    return [Bar(slower, "at least", factor, faster, size) for size, factor in factors.items()]


BARS = [
    *_slower("trl ppo", "ours", XS=2.0, S=1.3, M=1.3),
    *_slower("trl ppo, fused activation", "ours", S=1.15, M=1.15),
    *_slower("trl ppo bf16", "ours bf16", S=1.5),
    *_slower("trl ppo", "ours shared", S=2.0),
    *_slower("trl ppo", "ours shared bf16", S=3.0, M=3.0),
    *_slower("trl grpo", "ours grpo", XS=1.2, S=1.2, M=1.2),
    *_slower("trl rloo", "ours rloo", XS=1.2, S=1.2, M=1.2),
    *(
        Bar("ours", "at most", factor, "floor", size, phase)
        for size, factor in (("XS", 1.15), ("S", 1.10))
        for phase in ("rollout", "scoring", "update")
    ),
    Bar("sb3 on the vector env", "at most", 12.0, "floor", "XS"),
]

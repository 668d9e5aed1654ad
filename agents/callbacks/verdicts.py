"""The verdict on a training run in one plain line, from the rows of its log: rules on numbers, no state."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from textrl_env.stats import mann_kendall

Row = Mapping[str, float]
WINDOW = 20
"""Rows that a direction is judged over."""
TAGS = frozenset(
    {"time/iterations", "rollout/ep_len_mean"}
    | {f"objective/{name}" for name in ("scores", "kl", "entropy")}
    | {f"train/{name}" for name in ("clip_fraction", "approx_kl", "value_loss", "explained_variance")}
)
"""Columns of the log that are read."""
CLEAR = 1.645
"""z-score beyond which a trend is called one: one sided 5 %."""
ENOUGH = 10
"""Rows before it is said that nothing was learnt."""


def verdict(rows: Sequence[Row]) -> str:
    """Says what the last row shows, and what to do if something is wrong.

    `update 20: score 0.61 (+0.20), KL 3.1, entropy falling, ratio fine: learning`. The change of the score is that
    since the first row. Of the faults in `FAULTS` the first that holds is named; without one it is said whether the
    score rises. What an algorithm does not log is left out.

    Args:
        rows: of the log, the oldest first, at least one; tags as in docs/metrics.md.
    """
    last, first = rows[-1], rows[0]
    parts = [f"score {last['objective/scores']:.2f} ({last['objective/scores'] - first['objective/scores']:+.2f})"]
    if "objective/kl" in last:
        parts.append(f"KL {_one_decimal(last['objective/kl'])}")
    if "objective/entropy" in last:
        parts.append(f"entropy {_direction(rows, 'objective/entropy')}")
    if "train/clip_fraction" in last:
        parts.append(f"ratio {'too far' if step_too_large(rows) else 'fine'}")
    advice = next((message for fault, message in FAULTS if fault(rows)), None)
    return f"update {last.get('time/iterations', len(rows)):.0f}: {', '.join(parts)}: {advice or _progress(rows)}"


def negative_kl(rows: Sequence[Row]) -> bool:
    """Says whether the mean KL of the last rows is below -1 nat.

    An average of log-ratios over the policy's own samples is not negative.
    """
    recent = _values(rows, "objective/kl")[-5:]
    return bool(recent) and sum(recent) / len(recent) < -1


def kl_too_high(rows: Sequence[Row]) -> bool:
    """Says whether the KL is more than 10 nats per completion and more than 1 per token."""
    last = rows[-1]
    kl = last.get("objective/kl", 0.0)
    return kl > 10 and kl > last.get("rollout/ep_len_mean", 0.0)


def value_loss_explodes(rows: Sequence[Row]) -> bool:
    """Says whether the loss is ten times the median of the rows before, and the critic no better than a constant."""
    losses = _values(rows, "train/value_loss")
    if len(losses) < 4:
        return False
    return losses[-1] > 10 * median(losses[:-1]) and rows[-1].get("train/explained_variance", 0.0) <= 0


def step_too_large(rows: Sequence[Row]) -> bool:
    """Says whether over 30 % of the ratios were clipped, or an update moved the policy by over 0.1 nats a token."""
    last = rows[-1]
    return last.get("train/clip_fraction", 0.0) > 0.3 or last.get("train/approx_kl", 0.0) > 0.1


def entropy_collapsed(rows: Sequence[Row]) -> bool:
    """Says whether entropy is below a tenth of the first row's, while the score does not rise."""
    entropy = _values(rows, "objective/entropy")
    return len(entropy) > 1 and entropy[-1] < 0.1 * entropy[0] and not _rises(rows)


def nothing_learnt(rows: Sequence[Row]) -> bool:
    """Says whether the score has not risen over all rows, of which there are at least `ENOUGH`."""
    return len(rows) >= ENOUGH and mann_kendall(_values(rows, "objective/scores")) < CLEAR


FAULTS: tuple[tuple[Callable[[Sequence[Row]], bool], str], ...] = (
    (
        negative_kl,
        "KL IS NEGATIVE: sampling and scoring disagree; compare temperature and banned tokens with those of the "
        "reference",
    ),
    (value_loss_explodes, "VALUE LOSS EXPLODES: lower learning_rate or vf_coef, or scale the rewards down"),
    (step_too_large, "STEPS TOO LARGE: lower learning_rate or n_epochs"),
    (kl_too_high, "KL TOO HIGH: raise kl_coef or lower learning_rate, and read the samples"),
    (entropy_collapsed, "ENTROPY COLLAPSED: completions are nearly all alike; raise kl_coef or ent_coef"),
    (nothing_learnt, "NOTHING LEARNT YET: raise learning_rate or n_episodes, or look whether scores differ at all"),
)
"""What may be wrong and what to do, the likely cause before what follows from it."""


def _progress(rows: Sequence[Row]) -> str:
    if len(rows) < ENOUGH:
        return "too early to say"
    return "learning" if _rises(rows) else "learnt, steady now"


def _rises(rows: Sequence[Row]) -> bool:
    return mann_kendall(_values(rows, "objective/scores")[-WINDOW:]) > CLEAR


def _direction(rows: Sequence[Row], tag: str) -> str:
    z = mann_kendall(_values(rows, tag)[-WINDOW:])
    return "rising" if z > CLEAR else "falling" if z < -CLEAR else "steady"


def _values(rows: Sequence[Row], tag: str) -> list[float]:
    return [row[tag] for row in rows if tag in row]


def _one_decimal(value: float) -> str:
    # Rounding makes -0.0 of a small negative number; adding 0.0 makes it 0.0.
    return f"{round(value, 1) + 0.0:.1f}"

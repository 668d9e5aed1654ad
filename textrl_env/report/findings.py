"""Findings of a run, in sentences that are as careful as the numbers allow; and numbers as text."""

from dataclasses import dataclass
from typing import Literal

from textrl_env.report.run_files import Run

MINUS = "\N{MINUS SIGN}"
Direction = Literal["up", "down", "flat"]


@dataclass(frozen=True)
class RunVerdict:
    """The result of a run in one sentence, with a badge for those who read no sentences."""

    tone: Literal["better", "worse", "unclear"]
    badge: str
    sentence: str


def format_number(value: float, beside: float = 0.0) -> str:
    """Writes a number for people: about three digits, a real minus sign, thousands separated.

    Of two numbers to compare, pass the other as `beside`: both then get the decimals of the larger.
    """
    size = max(abs(value), abs(beside))
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    text = f"{value:,.{digits}f}"
    return (text[1:] if float(text.replace(",", "")) == 0 else MINUS + text[1:]) if text.startswith("-") else text


def format_difference(value: float) -> str:
    """Writes a difference, with its sign."""
    return f"+{format_number(value)}" if value > 0 else format_number(value)


def format_percent(value: float) -> str:
    """Writes a share in per cent, with one decimal."""
    text = f"{100 * value:.1f}%"
    return "0.0%" if text == "-0.0%" else text.replace("-", MINUS)


def format_duration(seconds: float) -> str:
    """Writes a time in seconds, minutes or hours, whichever suits it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def find_direction(run: Run, kind: str) -> Direction | None:
    """Says where PPO went against SFT by `kind` (gold or proxy), or None where no interval supports a judgement.

    By the win rate's interval against one half; without one, by whether the intervals of the two means are apart.
    """
    low, high = run.number(f"{kind}_win_rate_low"), run.number(f"{kind}_win_rate_high")
    if low is not None and high is not None:
        return "up" if low > 0.5 else "down" if high < 0.5 else "flat"
    sft_low, sft_high = run.number(f"{kind}_sft_low"), run.number(f"{kind}_sft_high")
    ppo_low, ppo_high = run.number(f"{kind}_ppo_low"), run.number(f"{kind}_ppo_high")
    if sft_low is None or sft_high is None or ppo_low is None or ppo_high is None:
        return None
    return "up" if ppo_low > sft_high else "down" if ppo_high < sft_low else "flat"


def judge_run(run: Run) -> RunVerdict:
    """Returns the one-sentence result: by gold where the run has it, else by the proxy with a warning."""
    has_gold = any(run.number(k) is not None for k in ("gold_win_rate", "gold_ppo"))
    kind = "gold" if has_gold else "proxy"
    facts = _describe_means(run, kind)
    if not facts:
        return RunVerdict("unclear", "Not evaluated", "This run recorded no comparison of PPO with SFT.")
    by = "the gold reward" if has_gold else "the reward model's own score"
    went, sft, ppo = find_direction(run, kind), run.number(f"{kind}_sft"), run.number(f"{kind}_ppo")
    mean = None if sft is None or ppo is None or sft == ppo else "up" if ppo > sft else "down"
    kl = run.number("kl")
    tail = "" if kl is None else f", at a KL of {format_number(kl)} nats from the reference"
    text = f"{facts}{tail}."
    if went in ("up", "down") and mean is not None and mean != went:
        result = RunVerdict("unclear", "Mixed", f"By {by} the answer is mixed: {text}")
    elif went == "up":
        result = RunVerdict("better", "Better than SFT", f"PPO beat the SFT model by {by}: {text}")
    elif went == "down":
        result = RunVerdict("worse", "Worse than SFT", f"PPO did worse than the SFT model by {by}: {text}")
    elif went == "flat":
        result = RunVerdict("unclear", "No clear difference", f"By {by}, PPO and SFT cannot be told apart: {text}")
    else:
        result = RunVerdict("unclear", "No interval", f"By {by}: {text} No interval was recorded to judge it by.")
    if not has_gold:
        badge = "Gold not measured" if result.tone != "worse" else result.badge
        caution = " There is no gold reward in this run, so whether the completions really changed so is not known."
        return RunVerdict("worse" if result.tone == "worse" else "unclear", badge, result.sentence + caution)
    if result.tone == "worse" and find_direction(run, "proxy") == "up":
        caution = " The reward model saw an improvement: this run hacked its reward."
        return RunVerdict("worse", "Reward hacked", result.sentence + caution)
    return result


def _describe_means(run: Run, kind: str) -> str:
    win, sft, ppo = (run.number(f"{kind}_{k}") for k in ("win_rate", "sft", "ppo"))
    low, high = run.number(f"{kind}_win_rate_low"), run.number(f"{kind}_win_rate_high")
    facts = []
    if win is not None:
        interval = (
            "" if low is None or high is None else f" (95% interval {format_percent(low)} to {format_percent(high)})"
        )
        facts.append(f"its completions win {format_percent(win)} of the comparisons{interval}")
    if sft is not None and ppo is not None:
        verb = "rose" if ppo > sft else "fell" if ppo < sft else "stayed"
        move = (
            f"from {format_number(sft, ppo)} to {format_number(ppo, sft)}" if ppo != sft else f"at {format_number(ppo)}"
        )
        facts.append(f"the mean {kind} score {verb} {move}")
    return " and ".join(facts)

"""What the numbers say, in sentences that are as careful as the numbers allow."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from textrl_env.report.curves import Curve, noise, smooth
from textrl_env.report.run_files import Run

MINUS = "\N{MINUS SIGN}"
Direction = Literal["up", "down", "flat"]


@dataclass(frozen=True)
class Verdict:
    tone: Literal["better", "worse", "unclear"]
    badge: str
    sentence: str


def shown(value: float, beside: float = 0.0) -> str:
    """A number for people: about three digits, a real minus sign, thousands separated.

    Of two numbers to compare, pass the other as `beside`: both then get the decimals of the larger.
    """
    size = max(abs(value), abs(beside))
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    text = f"{value:,.{digits}f}"
    return (text[1:] if float(text.replace(",", "")) == 0 else MINUS + text[1:]) if text.startswith("-") else text


def signed(value: float) -> str:
    return f"+{shown(value)}" if value > 0 else shown(value)


def percent(value: float) -> str:
    text = f"{100 * value:.1f}%"
    return "0.0%" if text == "-0.0%" else text.replace("-", MINUS)


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def direction(run: Run, kind: str) -> Direction | None:
    """Where PPO went against SFT by `kind` (gold or proxy), or None where no interval supports a judgement.

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


def verdict(run: Run) -> Verdict:
    """The one-sentence result: by gold where the run has it, else by the proxy with a warning."""
    has_gold = any(run.number(k) is not None for k in ("gold_win_rate", "gold_ppo"))
    kind = "gold" if has_gold else "proxy"
    facts = _facts(run, kind)
    if not facts:
        return Verdict("unclear", "Not evaluated", "This run recorded no comparison of PPO with SFT.")
    by = "the gold reward" if has_gold else "the reward model's own score"
    went, sft, ppo = direction(run, kind), run.number(f"{kind}_sft"), run.number(f"{kind}_ppo")
    mean = None if sft is None or ppo is None or sft == ppo else "up" if ppo > sft else "down"
    kl = run.number("kl")
    tail = "" if kl is None else f", at a KL of {shown(kl)} nats from the reference"
    text = f"{facts}{tail}."
    if went in ("up", "down") and mean is not None and mean != went:
        result = Verdict("unclear", "Mixed", f"By {by} the answer is mixed: {text}")
    elif went == "up":
        result = Verdict("better", "Better than SFT", f"PPO beat the SFT model by {by}: {text}")
    elif went == "down":
        result = Verdict("worse", "Worse than SFT", f"PPO did worse than the SFT model by {by}: {text}")
    elif went == "flat":
        result = Verdict("unclear", "No clear difference", f"By {by}, PPO and SFT cannot be told apart: {text}")
    else:
        result = Verdict("unclear", "No interval", f"By {by}: {text} No interval was recorded to judge it by.")
    if not has_gold:
        badge = "Gold not measured" if result.tone != "worse" else result.badge
        caution = " There is no gold reward in this run, so whether the completions really changed so is not known."
        return Verdict("worse" if result.tone == "worse" else "unclear", badge, result.sentence + caution)
    if result.tone == "worse" and direction(run, "proxy") == "up":
        caution = " The reward model saw an improvement: this run hacked its reward."
        return Verdict("worse", "Reward hacked", result.sentence + caution)
    return result


def hacking_note(proxy: Curve, gold: Curve) -> str:
    """Compare where gold was best during training with where it ended; empty where there is too little to say."""
    if len(gold) < 3 or len(proxy) < 3:
        return ""
    g, p = smooth(gold.y), smooth(proxy.y)
    best = int(np.argmax(g))
    p_best = float(np.interp(gold.x[best], proxy.x, p))
    fell = float(g[best] - g[-1])
    clear = max(0.1 * float(np.ptp(g)), 3 * noise(gold.y))
    where = f"The gold score was best near update {gold.x[best]:,.0f} ({shown(g[best])})"
    if fell > clear and p[-1] > p_best + 3 * noise(proxy.y):
        return (
            f"{where} and ended at {shown(g[-1])}, while the proxy rose on from {shown(p_best)} to {shown(p[-1])}: "
            "the mark of reward hacking. Stopping near that update would have scored higher by the truth; a larger KL "
            "coefficient is the other usual remedy."
        )
    if fell > clear:
        return (
            f"{where} and ended at {shown(g[-1])}, but the proxy did not rise meanwhile: before suspecting reward "
            "hacking, look at the health of the optimiser below."
        )
    proxy_rose = p[-1] - p[0] > 3 * noise(proxy.y)
    if g[-1] - g[0] > clear:
        together = "Proxy and gold rose together, and gold" if proxy_rose else "Gold rose, and"
        return f"{together} ended at or near its best ({shown(g[-1])} of {shown(g[best])}): no sign of reward hacking."
    if proxy_rose:
        return (
            f"The proxy rose from {shown(p[0], p[-1])} to {shown(p[-1], p[0])} while gold hardly moved "
            f"(from {shown(g[0])} to {shown(g[-1])}): PPO found what the reward model likes, but little of what the "
            "truth rewards."
        )
    return f"Neither proxy nor gold rose clearly (gold from {shown(g[0])} to {shown(g[-1])}): nothing much was learned."


def _facts(run: Run, kind: str) -> str:
    win, sft, ppo = (run.number(f"{kind}_{k}") for k in ("win_rate", "sft", "ppo"))
    low, high = run.number(f"{kind}_win_rate_low"), run.number(f"{kind}_win_rate_high")
    facts = []
    if win is not None:
        interval = "" if low is None or high is None else f" (95% interval {percent(low)} to {percent(high)})"
        facts.append(f"its completions win {percent(win)} of the comparisons{interval}")
    if sft is not None and ppo is not None:
        verb = "rose" if ppo > sft else "fell" if ppo < sft else "stayed"
        move = f"from {shown(sft, ppo)} to {shown(ppo, sft)}" if ppo != sft else f"at {shown(ppo)}"
        facts.append(f"the mean {kind} score {verb} {move}")
    return " and ".join(facts)

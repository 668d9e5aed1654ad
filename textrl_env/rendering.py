"""An episode as text: the prompt, the completion token by token, and what each token was paid."""

from collections.abc import Sequence


def ansi_episode(prompt: str, ledger: Sequence[tuple[str, dict[str, float]]]) -> str:
    """The prompt, then a line a token with its reward terms, then their totals.

    Args:
        prompt: its text.
        ledger: per token, its text and its reward terms.
    """
    lines = [prompt]
    for text, terms in ledger:
        paid = "  ".join(f"{name} {value:+.3f}" for name, value in terms.items())
        lines.append(f"  {text!r:<18} {paid}")
    if ledger:
        totals = {name: sum(terms[name] for _, terms in ledger) for name in ledger[0][1]}
        lines.append(f"  {'total':<18} " + "  ".join(f"{name} {value:+.3f}" for name, value in totals.items()))
    return "\n".join(lines)

"""The report card beside a reward model, and what training does with it."""

from pathlib import Path

from textrl_env.errors import InputError
from textrl_env.pipeline.runs import read_json
from textrl_env.reward_models.report_card import weights_digest

CARD, PAGE = "report_card.json", "report_card.html"


def require_passed(reward_model: Path, *, allow_failed: bool) -> None:
    """Raises InputError naming the failed checks where a card of these very weights says so, unless that is allowed.

    Without a card, or with one of other weights, nothing is known and nothing happens.
    """
    path = reward_model / CARD
    if allow_failed or not path.is_file():
        return
    card = read_json(path)
    checks = card.get("checks")
    if not isinstance(checks, list) or not all(isinstance(check, dict) for check in checks):
        raise InputError(f"{path}: not a report card (no list of checks); make it anew with: textrl report rm")
    failed = [str(check.get("name")) for check in checks if check.get("outcome") == "failed"]
    if failed and card.get("weights") == weights_digest(reward_model):
        raise InputError(
            f"{reward_model}: this reward model failed its report card ({', '.join(failed)}; see {PAGE} there); "
            "train a better one, or go on all the same with --allow-failed-reward-model"
        )

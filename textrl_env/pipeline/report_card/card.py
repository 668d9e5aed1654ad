"""The report card in a reward model's folder: written there, and asked for before a policy is trained on the model."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textrl_env.errors import InputError, require_seed
from textrl_env.pipeline.report_card.options import ReportCardFiles, ReportCardOptions
from textrl_env.pipeline.runs import command_line, find_policy, read_json, write_json
from textrl_env.reward_models import Preference
from textrl_env.reward_models.report_card import CARD, PAGE, weights_digest

if TYPE_CHECKING:
    from textrl_env.reward_models.report_card import Probe, ReportCard, Samples


def write_report_card(path: Path, options: ReportCardOptions) -> ReportCardFiles:
    """Judges a reward model; writes report_card.json and .html beside its weights.

    Args:
        path: a run's folder, or a reward model's.
        options: what to judge by and on.

    Raises:
        InputError: an option is out of range, a file is missing or cannot be read, or a policy does not fit.
    """
    from textrl_env.pipeline.report_card.inputs import find_reward_model

    folder = find_reward_model(path)
    card, data = _judge(folder, options)
    about = {
        "weights": weights_digest(folder),
        "reward_model": str(folder),
        "data": data,
        "limits": asdict(options.limit),
        "command": command_line(),
        "seed": options.seed,
    }
    json = write_json(folder / CARD, about | card.as_dict())

    from textrl_env.report import write_card

    return ReportCardFiles(card, folder, json, write_card(json))


def _judge(folder: Path, options: ReportCardOptions) -> "tuple[ReportCard, dict[str, Any]]":
    """Returns the card, and what it was made from."""
    from textrl_env.pipeline.report_card.inputs import (
        find_gold,
        read_heldout,
        read_slices,
        sample_policies,
        simulate_ceiling,
    )

    source, preferences, on_bad_row = read_heldout(folder, options.preferences)

    from textrl_env.reward_models import load_reward_model
    from textrl_env.reward_models.training import encode_rows

    reward_model = load_reward_model(folder)
    # Those that its training could not hold are left out here as there.
    fitting, _ = encode_rows(reward_model, preferences, on_bad_row=on_bad_row)
    preferences = [row for row in fitting if isinstance(row, Preference)]
    slices = read_slices(source, preferences, options.slice_by)
    prompts = [text for text in dict.fromkeys(row.prompt for row in preferences) if str(text).strip()]
    prompts = prompts[: options.n_prompts]
    start = find_policy(options.policy) if options.policy else folder.parent / "sft"
    samples = bool(prompts) and (start / "config.json").is_file()
    gold = find_gold(prompts) if samples else None

    import numpy as np

    from textrl_env.reward_models.report_card import report_card

    data: dict[str, Any] = {"preferences": str(source), "n_preferences": len(preferences)}
    pool: Samples | None = None
    probes: list[Probe] = []
    if samples:
        pool, probes = sample_policies(reward_model, prompts, options, run_dir=folder.parent, start=start, gold=gold)
        data |= {"policy": str(start), "n_prompts": len(prompts), "n_samples": options.n, "gold": gold is not None}
    card = report_card(
        reward_model,
        preferences,
        rng=np.random.default_rng(require_seed(options.seed)),
        limits=options.limit,
        ceiling=simulate_ceiling(source, preferences),
        slices=slices,
        pool=pool,
        probes=probes,
    )
    return card, data


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
    failures = [str(check.get("name")) for check in checks if check.get("outcome") == "failed"]
    if failures and card.get("weights") == weights_digest(reward_model):
        raise InputError(
            f"{reward_model}: this reward model failed its report card ({', '.join(failures)}; see {PAGE} there); "
            "train a better one, or go on all the same with --allow-failed-reward-model"
        )

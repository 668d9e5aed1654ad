"""What the report card is made from: held-out preferences and their slices, the raters' ceiling, sampled texts."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textrl_env.data import read_rows
from textrl_env.errors import InputError
from textrl_env.lm import load_config
from textrl_env.pipeline.reward_model import read_for_training
from textrl_env.pipeline.runs import find_policy, read_json, require_path
from textrl_env.reward_models import Preference, read_preferences
from textrl_env.reward_models.report_card import weights_digest
from textrl_env.worlds import support_desk

if TYPE_CHECKING:
    from textrl_env.reward_models.report_card import Ceiling, Gold


def reward_model_folder(path: Path) -> Path:
    """The reward model in a run's folder, or the folder itself."""
    inside = path / "reward_model"
    if inside.is_dir():
        return inside
    require_path(path if path.is_dir() and any(path.glob("*.safetensors")) else inside,
             made_by=f"textrl reward-model --run-dir {path}")  # fmt: skip
    return path


def heldout_preferences(reward_model: Path, given: Path | None) -> tuple[Path, list[Preference]]:
    """The file and its preferences that the reward model was not trained on: given, or those its training held out."""
    if given is not None:
        return given, read_preferences(given)
    run_dir, manifest = reward_model.parent, reward_model / "manifest.json"
    options = read_json(manifest).get("config", {}) if manifest.is_file() else {}
    train, heldout = (Path(options[name]) if options.get(name) else None for name in ("preferences", "heldout"))
    metrics = reward_model / "metrics.json"
    if metrics.is_file() and "n_ratings" in read_json(metrics):
        raise InputError(f"{reward_model} was trained on ratings; name held-out preferences with --preferences")
    own = run_dir / "preferences" / "heldout.jsonl"
    if train is None and heldout is None and not own.is_file():
        raise InputError(f"{own}: no such file; name held-out preferences with --preferences")
    read = partial(read_preferences, on_bad_row=options.get("on_bad_row", "error"))
    _, preferences = read_for_training(run_dir, train, heldout, read=read)
    return heldout or train or own, preferences


def slices_of(path: Path, preferences: Sequence[Preference], columns: Sequence[str]) -> dict[str, list[Any]]:
    """Values of the named columns of a file, by preference; what support-desk prompts ask for stands first."""
    found: dict[str, list[Any]] = {}
    if on_support_desk([preference.prompt for preference in preferences]):
        requests = [support_desk.parse_prompt(preference.prompt) for preference in preferences]
        found = {name: [getattr(request, name) for request in requests] for name in ("problem", "harmful")}
    if columns:
        texts = ["chosen", "rejected"]
        rows = {
            row.where: row.values for row in read_rows(path, text_columns=texts, may_be_empty=texts, on_bad_row="skip")
        }
        own = [rows[preference.where] for preference in preferences]
        for column in columns:
            if column not in found and not any(column in row for row in own):
                names = dict.fromkeys(name for row in own for name in row)
                raise InputError(f"{path}: no column {column!r} to slice by (found: {', '.join(map(repr, names))})")
            if any(column in row for row in own):
                found[column] = [row.get(column, "(none)") for row in own]
    return found


def on_support_desk(prompts: Sequence[str]) -> bool:
    """Whether all prompts are the support desk's, so that their gold reward is known."""
    try:
        for prompt in prompts:
            support_desk.parse_prompt(prompt)
    except InputError:
        return False
    return True


def gold_of(prompts: Sequence[str]) -> "Gold | None":
    """The true reward, where it is known."""
    return support_desk.gold_reward if on_support_desk(prompts) else None


def simulated_ceiling(preferences_file: Path, preferences: Sequence[Preference]) -> "Ceiling | None":
    """Of the raters that `textrl preferences` simulated for this file; None for other files."""
    from textrl_env.reward_models.feedback.simulated_raters import RaterPopulation
    from textrl_env.reward_models.report_card import Ceiling

    metrics, manifest = (preferences_file.with_name(name) for name in ("metrics.json", "manifest.json"))
    if not (metrics.is_file() and manifest.is_file()):
        return None
    value, made = read_json(metrics).get("ceiling"), read_json(manifest)
    if value is None:
        return None
    population = RaterPopulation.default(support_desk.gold_reward, made["config"]["n_raters"], seed=made["seed"])
    pairs = [(row.prompt, a, b) for row in preferences for a, b in combinations(row.ranking, 2)]
    prompts, first, second = zip(*pairs, strict=True)
    chance = population.preference_probabilities(prompts, first, second)
    by_pair = np.maximum(chance, 1 - chance)
    # Pair by pair only if these are the raters of the file: what they sum up to is on record.
    same = abs(float(by_pair.mean()) - value) < 1e-6
    return Ceiling(value, "of the simulated raters' own noise", by_pair if same else None)


def policies_of(run_dir: Path, given: Sequence[Path], *, start: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of policies to probe with: given, or those that PPO left in the run; equal weights once.

    InputError where one has another vocabulary than the policy it is compared with, `start`.
    """
    ppo = run_dir / "ppo"
    own = [*sorted(ppo.glob("checkpoints/*/policy")), ppo / "best", run_dir / "policy"]
    folders = [find_policy(path) for path in given] or [path for path in own if (path / "config.json").is_file()]
    seen: set[str] = set()
    for folder in folders:
        digest = weights_digest(folder)
        if digest not in seen:
            seen.add(digest)
            sizes = [load_config(path).get_text_config().vocab_size for path in (folder, start)]
            if sizes[0] != sizes[1]:
                raise InputError(
                    f"{folder}: has {sizes[0]} tokens, {start} has {sizes[1]}; its KL to it is not defined, so leave "
                    "it out of --policies"
                )
            inside = folder.relative_to(run_dir) if folder.is_relative_to(run_dir) else folder
            yield str(inside.parent if inside.name == "policy" and inside.parent.name else inside), folder


def mean_kl(policy: Any, reference: Any, samples: Sequence[Any], *, vocab_size: int) -> float:
    """Of the policy's samples, log-ratio in nats per completion."""
    from textrl_env.agents.rollouts import completion_logprobs

    own, other = (completion_logprobs(model, samples, vocab_size=vocab_size) for model in (policy, reference))
    return float(np.mean(np.array(own) - np.array(other)))

"""Inputs of a report card: held-out preferences and their slices, the raters' ceiling, samples of policies."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForCausalLM

from textrl_env.agents import sample_completions
from textrl_env.agents.rollouts import completion_logprobs
from textrl_env.data import OnBadRow, PromptDataset
from textrl_env.data.rows import parse_rows
from textrl_env.errors import InputError
from textrl_env.lm import load_config, load_model
from textrl_env.pipeline import default_data
from textrl_env.pipeline.report_card.options import ReportCardOptions
from textrl_env.pipeline.reward_model import read_for_training
from textrl_env.pipeline.runs import encode_fitting_prompts, find_policy, read_json, require_path
from textrl_env.reward_models import Preference, RaterPopulation, read_preferences
from textrl_env.reward_models.report_card import Ceiling, Gold, Probe, Samples, Scorer, score_samples, weights_digest

PROBE_SAMPLES = 8
"""Samples of each prompt by a policy that is probed."""


def find_reward_model(path: Path) -> Path:
    """Returns the reward model in a run's folder, or the folder itself; InputError where there is none."""
    inside = path / "reward_model"
    if inside.is_dir():
        return inside
    has_weights = path.is_dir() and any(path.glob("*.safetensors"))
    require_path(path if has_weights else inside, made_by=f"textrl reward-model --run-dir {path}")
    return path


def read_heldout(reward_model: Path, path: Path | None) -> tuple[Path, list[Preference], OnBadRow]:
    """Reads preferences that the reward model was not trained on.

    Args:
        reward_model: its folder.
        path: a file of them; by default those that its training held out.

    Returns:
        The file, its preferences, and what its training did with bad rows.
    """
    if path is not None:
        return path, read_preferences(path), "error"
    run_dir, manifest = reward_model.parent, reward_model / "manifest.json"
    options = read_json(manifest).get("config", {}) if manifest.is_file() else {}
    train, heldout = (Path(options[name]) if options.get(name) else None for name in ("preferences", "heldout"))
    metrics = reward_model / "metrics.json"
    if metrics.is_file() and "n_ratings" in read_json(metrics):
        raise InputError(f"{reward_model} was trained on ratings; name held-out preferences with --preferences")
    default = run_dir / "preferences" / "heldout.jsonl"
    if train is None and heldout is None and not default.is_file():
        raise InputError(f"{default}: no such file; name held-out preferences with --preferences")
    on_bad_row: OnBadRow = options.get("on_bad_row", "error")
    read = partial(read_preferences, on_bad_row=on_bad_row)
    _, preferences = read_for_training(run_dir, train, heldout, read=read)
    return heldout or train or default, preferences, on_bad_row


def read_slices(path: Path, preferences: Sequence[Preference], columns: Sequence[str]) -> dict[str, list[Any]]:
    """Returns the values of the named columns of a file, by preference; those that a support-desk prompt has first."""
    slices: dict[str, list[Any]] = {}
    if _are_requests([preference.prompt for preference in preferences]):
        requests = [default_data.parse_request(str(preference.prompt)) for preference in preferences]
        slices = {name: [getattr(request, name) for request in requests] for name in ("problem", "harmful")}
    if columns:
        values = {where: row for where, row in parse_rows(path, "chosen") if isinstance(row, Mapping)}
        rows = [values[preference.where] for preference in preferences]
        for column in columns:
            if column not in slices and not any(column in row for row in rows):
                names = dict.fromkeys(name for row in rows for name in row)
                raise InputError(f"{path}: no column {column!r} to slice by (found: {', '.join(map(repr, names))})")
            if any(column in row for row in rows):
                slices[column] = [row.get(column, "(none)") for row in rows]
    return slices


def _are_requests(prompts: Sequence[Any]) -> bool:
    """Returns True where all prompts are the support desk's."""
    if not all(isinstance(prompt, str) for prompt in prompts):
        return False
    try:
        for prompt in prompts:
            default_data.parse_request(prompt)
    except InputError:
        return False
    return True


def find_gold(prompts: Sequence[Any]) -> Gold | None:
    """Returns the true reward where it is known: on the support desk."""
    return default_data.gold_reward if _are_requests(prompts) else None


def simulate_ceiling(preferences_file: Path, preferences: Sequence[Preference]) -> Ceiling | None:
    """Computes the ceiling of the raters that `textrl preferences` simulated for a file; None for other files."""
    metrics, manifest = (preferences_file.with_name(name) for name in ("metrics.json", "manifest.json"))
    if not (metrics.is_file() and manifest.is_file()):
        return None
    value, record = read_json(metrics).get("ceiling"), read_json(manifest)
    if value is None:
        return None
    population = RaterPopulation.default(default_data.gold_reward, record["config"]["n_raters"], seed=record["seed"])
    pairs = [(row.prompt, a, b) for row in preferences for a, b in combinations(row.ranking, 2)]
    prompts, first, second = zip(*pairs, strict=True)
    chance = population.preference_probabilities(prompts, first, second)
    by_pair = np.maximum(chance, 1 - chance)
    # Pair by pair only if these are the raters of the file: what they sum up to is on record.
    same = abs(float(by_pair.mean()) - value) < 1e-6
    return Ceiling(value, "of the simulated raters' own noise", by_pair if same else None)


def find_policies(run_dir: Path, paths: Sequence[Path], *, start: Path) -> Iterator[tuple[str, Path]]:
    """Yields name and folder of the policies to probe with; equal weights once.

    Args:
        run_dir: the run's folder.
        paths: folders of policies; by default those that PPO left in the run.
        start: the policy they are compared with.

    Raises:
        InputError: a policy has another vocabulary than `start`.
    """
    ppo = run_dir / "ppo"
    defaults = [*sorted(ppo.glob("checkpoints/*/policy")), ppo / "best", run_dir / "policy"]
    folders = [find_policy(path) for path in paths] or [path for path in defaults if (path / "config.json").is_file()]
    digests: set[str] = set()
    for folder in folders:
        digest = weights_digest(folder)
        if digest not in digests:
            digests.add(digest)
            sizes = [load_config(path).get_text_config().vocab_size for path in (folder, start)]
            if sizes[0] != sizes[1]:
                raise InputError(
                    f"{folder}: has {sizes[0]} tokens, {start} has {sizes[1]}; its KL to it is not defined, so leave "
                    "it out of --policies"
                )
            inside = folder.relative_to(run_dir) if folder.is_relative_to(run_dir) else folder
            yield str(inside.parent if inside.name == "policy" and inside.parent.name else inside), folder


def sample_policies(
    reward_model: Scorer,
    prompts: list[Any],
    options: ReportCardOptions,
    *,
    run_dir: Path,
    start: Path,
    gold: Gold | None,
) -> tuple[Samples, list[Probe]]:
    """Samples the policy that training starts from, and trained ones, and scores the samples.

    Args:
        reward_model: scores the samples.
        prompts: to sample on.
        options: number and length of the samples, the policies and the seed.
        run_dir: folder of the run whose policies are probed by default.
        start: folder of the policy that training starts from.
        gold: the true reward, where it is known.
    """
    policies = list(find_policies(run_dir, options.policies, start=start))
    fitting = encode_fitting_prompts(start, PromptDataset.of(prompts), max_new_tokens=options.max_new_tokens)
    tokenizer = fitting.tokenizer
    reference = load_model(AutoModelForCausalLM, start)

    def sample(model: Any, n: int, description: str) -> Any:
        return sample_completions(
            model,
            tokenizer,
            prompts,
            max_new_tokens=options.max_new_tokens,
            n=n,
            eos_token_ids=options.eos_token_ids,
            seed=options.seed,
            description=description,
        )

    def score(groups: Any) -> Samples:
        texts = [[completion.text for completion in group] for group in groups]
        return score_samples(reward_model, prompts, texts, gold=gold)

    pool = score(sample(reference, options.n, "samples of the policy"))
    probes = []
    for name, folder in policies:
        policy = load_model(AutoModelForCausalLM, folder)
        groups = sample(policy, PROBE_SAMPLES, f"samples of {name}")
        completions = [completion for group in groups for completion in group]
        logprobs = [
            np.array(completion_logprobs(model, completions, vocab_size=len(tokenizer)))
            for model in (policy, reference)
        ]
        probes.append(Probe(name, "policy", float(np.mean(logprobs[0] - logprobs[1])), score(groups)))
    return pool, probes

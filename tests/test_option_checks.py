"""Every number and every seed that a user can give is checked, in every dataclass of options there is."""

import ast
import importlib
import inspect
import pkgutil
import random
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np
import pytest
import torch
from gymnasium.utils import seeding

import textrl_env
from textrl_env.agents.on_policy import OnPolicyOptions
from textrl_env.errors import (
    LARGEST_SEED,
    InputError,
    require_above,
    require_at_least,
    require_count,
    require_seed,
    require_within,
    shift_seed,
)
from textrl_env.pipeline import SFTOptions, run_sft
from textrl_env.reward_models.feedback.simulated_raters import SimulatedRater

ROOT = Path(__file__).parents[1]
# Dataclasses with numbers that no user gives as options: states, results, and rows, which their readers check.
NO_OPTIONS = {"Update", "TrainingState", "TrainingPlan", "Effect", "Finding", "Judgement", "LabelLog", "LabelEvent"}
NO_OPTIONS |= {
    "CheckedRow",
    "ImportSummary",
    "CompletionChoice",
    "LanguageModelReviser",
    "Preference",
    "RatedCompletion",
    "Principle",
}
# Where a field has no default: something that is right.
REQUIRED = {
    "AdaptiveKL": {"target": 1.0},
    "Balance": {"data": Path("a"), "by": "b"},
    "Chat": {"run_dir": Path("a")},
    "Generate": {"policy": Path("a"), "prompts": Path("b"), "out": Path("c")},
    "GenerationOptions": {"policy": Path("a"), "prompts": Path("b"), "out": Path("c")},
    "LengthPenalty": {"free": 1},
    "Lint": {"data": Path("a")},
    "Raters": {"data": Path("a")},
    "Slices": {"by": "a"},
    "StageCommand": {"stage": SFTOptions()},
    "Weighted": {"reward": len},
    "Worker": {"rater": SimulatedRater("a", 0.1)},
}
REQUIRED["SimulatedRater"] = {"name": "a", "noise": 0.1}
RUNG = {"name": "", "asks": "", "cause": "", "prompts": ["a"], "reward": len, "tokenizer": None}
REQUIRED["Rung"] = {**RUNG, "max_new_tokens": 1, "timesteps": 1}
# The options where 0 has a meaning, and those that may be negative.
ZERO = {
    *("ai_weight", "center_rewards_coefficient", "coef", "desirable_weight", "ent_coef", "fatigue", "free"),
    *("gae_lambda", "human_weight", "kl_coef", "kl_loss_coef", "label_smoothing", "laziness", "largest"),
    *("length_bias", "n_prompts", "pessimism", "port", "repeats", "retries", "seed", "temperature", "tie_margin"),
    *("undesirable_weight", "verbose", "vf_coef", "weight", "weight_decay"),
    *("accuracy", "slice_accuracy", "calibration", "invariance", "tilt", "substance", "disagreement", "best_of_n"),
    "far_agreement",
}
NEGATIVE = {"length_bias", "weight"}
# A norm to which no gradient is scaled down.
INFINITE = {"max_grad_norm"}
SEEDED = ("manual_seed", "default_rng")
# Prompts may be none where they are only one source of many.
NO_ZERO = {(name, "n_prompts") for name in ("EvaluationOptions", "PPOOptions", "PreferencesOptions", "TrainOptions")}
NO_ZERO |= {(name, "n_prompts") for name in ("CopyWorld", "ReverseWorld", "ArithmeticWorld", "SortWorld")}
NO_ZERO |= {(name, "n_prompts") for name in ("HackableWorld", "EnumerableWorld", "SupportDeskWorld")}


def number_kind(kind: Any) -> type | None:
    """int or float where a field holds one, a union with others included; else None."""
    if kind in (int, float):
        return kind
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    return next((part for part in parts if part in (int, float)), None)


def option_classes() -> Iterator[type]:
    """Every dataclass of the library that a user can make and that has a number."""
    for module in pkgutil.walk_packages(textrl_env.__path__, "textrl_env."):
        for kind in vars(importlib.import_module(module.name)).values():
            is_local = isinstance(kind, type) and kind.__module__ == module.name
            if (
                is_local
                and is_dataclass(kind)
                and not inspect.isabstract(kind)
                and kind.__name__[0] != "_"
                and kind.__name__ not in NO_OPTIONS
            ):
                yield kind


def numbers() -> Iterator[tuple[type, Field[Any], type]]:
    """The class, the field and the type of every number."""
    for kind in option_classes():
        hints = {name: hint for base in reversed(kind.__mro__) for name, hint in inspect.get_annotations(base).items()}
        needed = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}
        is_algorithm = {"policy", "env"} == needed
        for field in fields(kind):
            if not field.init or (number := number_kind(hints[field.name])) is None:
                continue
            if is_algorithm or needed <= REQUIRED.get(kind.__name__, {}).keys():
                yield kind, field, number


NUMBERS = sorted(numbers(), key=lambda entry: (entry[0].__module__, entry[0].__name__, entry[1].name))


def refuses(kind: type, name: str, value: object) -> bool:
    """True where the class refuses the value by an InputError that names the field."""
    required = REQUIRED.get(kind.__name__, {})
    needed = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}
    if {"policy", "env"} == needed:
        required = {"policy": None, "env": None}
    try:
        kind(**{**required, name: value})
    except InputError as error:
        return name in str(error)
    except AttributeError:
        # An algorithm looks at its policy when all numbers are right.
        return False
    return False


def test_all_classes_of_options_are_here() -> None:
    names = {kind.__name__ for kind, _, _ in NUMBERS}
    assert {"PPO", "DPOConfig", "RewardModelConfig", "KLShaping", "PPOOptions", "CardLimits", "LintOptions"} <= names
    assert {"Label", "Quickstart", "StageCommand", "SupportDeskWorld", "Worker", "EndpointConfig"} <= names
    assert len(NUMBERS) > 200
    # A dataclass with a number that has a default is a class of options, and none is left out.
    with_default = {
        kind.__name__
        for kind in option_classes()
        for field in fields(kind)
        if field.init and field.default is not MISSING and field.type in (int, float, "int", "float")
    }
    assert with_default - names == set()


@pytest.mark.parametrize(
    ("kind", "name", "number"),
    [pytest.param(kind, field.name, number, id=f"{kind.__name__}-{field.name}") for kind, field, number in NUMBERS],
)
def test_a_number_that_is_none_or_out_of_range_is_refused_by_name(kind: type, name: str, number: type) -> None:
    wrong: list[object] = [float("nan"), float("inf"), float("-inf"), np.float32("nan"), 1e308, "fast", True, -1e-30]
    if number is int and name not in ("total_timesteps", "total_updates"):
        wrong += [-1, 10**30, 10**5000, 1.5]
    if name in INFINITE:
        wrong.remove(float("inf"))
        assert not refuses(kind, name, float("inf"))
    if name in NEGATIVE:
        wrong.remove(-1e-30)
    if name == "weight":
        wrong = [float("nan"), float("inf"), float("-inf"), "fast"]
    assert [value for value in wrong if not refuses(kind, name, value)] == []


@pytest.mark.parametrize(
    ("kind", "name"), [pytest.param(kind, field.name, id=f"{kind.__name__}-{field.name}") for kind, field, _ in NUMBERS]
)
def test_zero_is_accepted_where_it_means_something_and_there_only(kind: type, name: str) -> None:
    allowed = name in ZERO and (kind.__name__, name) not in NO_ZERO
    if name == "learning_rate":
        allowed = issubclass(kind, OnPolicyOptions)
    assert refuses(kind, name, 0) != allowed


@pytest.mark.parametrize(
    "seed", [-1, LARGEST_SEED + 1, 2**64, pytest.param(10**5000, id="long"), 1.0, float("nan"), "1", None, True]
)
def test_a_seed_that_some_generator_would_refuse_is_refused_with_the_range(seed: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="seed must be a whole number from 0 to 4294967295"):
        require_seed(seed)
    with pytest.raises(InputError, match="seed must be a whole number from 0 to 4294967295"):
        run_sft(SFTOptions(n_demonstrations=1), tmp_path / "run", seed)
    assert not (tmp_path / "run").exists()


def test_the_seeds_that_are_accepted_work_in_every_generator() -> None:
    for seed in (0, LARGEST_SEED, np.int64(7), np.uint32(7)):
        number = require_seed(seed)  # type: ignore[arg-type]
        assert type(number) is int
        np.random.RandomState(number)
        np.random.default_rng(number)
        torch.Generator().manual_seed(number)
        seeding.np_random(number)
        random.Random(number)
    assert shift_seed(LARGEST_SEED, 1) == 0 and shift_seed(5, 3) == 8


def test_every_generator_is_seeded_through_the_check() -> None:
    """`manual_seed` and `default_rng` take nothing that `require_seed` has not seen."""
    unchecked = []
    for folder in ("textrl_env", "agents", "reward_models"):
        for path in (ROOT / folder).rglob("*.py"):
            if any(parent.is_symlink() for parent in path.parents):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
                is_constant = isinstance(node, ast.Call) and all(isinstance(part, ast.Constant) for part in node.args)
                if name in SEEDED and not is_constant and "require_seed(" not in ast.unparse(node):
                    unchecked.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    # A generator on another device goes on with the seed of the one before.
    assert [entry for entry in unchecked if "initial_seed()" not in entry] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e308, "1", None, True, [1.0]])
def test_the_checks_themselves_refuse_what_is_no_finite_number(value: Any) -> None:
    for check in (
        lambda: require_at_least(0, rate=value),
        lambda: require_above(0, rate=value),
        lambda: require_within("[0, 1]", rate=value),
        lambda: require_count(0, rate=value),
    ):
        with pytest.raises(InputError, match="rate must be"):
            check()


def test_the_ends_of_an_interval_count_as_its_brackets_say() -> None:
    require_within("[0, 1]", a=0, b=1)
    require_within("(0, 1)", a=1e-300, b=0.5)
    for interval, value in (("(0, 1]", 0), ("[0, 1)", 1), ("(0, 1)", 0), ("(0, 1)", 1), ("[0, 1]", 1.5)):
        with pytest.raises(InputError, match="a must be in"):
            require_within(interval, a=value)

"""Checks that a model of transformers, the configuration it was built from and the weights in a folder are one."""

from pathlib import Path
from typing import Any

import torch

from textrl_env.errors import InputError
from textrl_env.lm.loading.configs import CONFIG, read_config
from textrl_env.lm.loading.folders import named_faults
from textrl_env.lm.loading.weights import INTEGERS, Weights

AGAIN = "the folder is incomplete, or has the config.json of another model; write or fetch the model again"


class MissingHeadError(InputError):
    """A model whose trunk is whole and whose head is not there: a language model where a classifier was expected."""


def require_sizes(folder: Path, skeleton: Any, weights: Weights) -> None:
    """Raises InputError before memory is taken where the configuration asks for far more than the files hold."""
    n_expected, n_stored = sum(value.numel() for value in skeleton.parameters()), weights.n_numbers()
    n_tables = sum(value.numel() for value in skeleton.buffers())
    if n_expected > 2 * n_stored + 2**20 or n_tables > 4 * n_stored + 2**28:
        raise InputError(
            f"{folder / CONFIG}: asks for {n_expected + n_tables:,} numbers, the weights hold {n_stored:,}; {AGAIN}"
        )


def require_float_weights(skeleton: Any, weights: Weights) -> None:
    """Raises InputError where a parameter is stored in integers: quantised, with a scale that is nowhere read."""
    names = {name for name, value in skeleton.named_parameters() if value.is_floating_point()}
    prefix = f"{skeleton.base_model_prefix}."
    for name in weights.slices:
        if weights.dtype(name) in INTEGERS and {name, prefix + name, name.removeprefix(prefix)} & names:
            raise InputError(
                f"{weights.files[name]}: {name} is {weights.dtype(name)}, a quantised type; take the model as it was "
                "before"
            )


def require_all_weights(
    folder: Path, model: Any, info: dict[str, Any], weights: Weights, *, spare: set[str], new_head: bool
) -> None:
    """Raises InputError unless all weights of the model came from the files, and all in the files went into it."""
    for name, shape, place in sorted(info["mismatched_keys"]):
        raise InputError(
            f"{weights.files.get(name, folder)}: {name} has shape {tuple(shape)}, {CONFIG} asks for "
            f"{tuple(place)}{_label_hint(model, name)}; {AGAIN}"
        )
    trunk = "" if model.base_model is model else f"{model.base_model_prefix}."
    missing = sorted(name for name in info["missing_keys"] if not new_head or name.startswith(trunk))
    surplus = sorted(name for name in info["unexpected_keys"] if name not in spare)
    if new_head:
        # The head that the new one replaces has a row for each token.
        n_embeddings = model.get_input_embeddings().weight.shape[0]
        rows = {name: weights.shape(name)[:1] for name in surplus if name in weights.slices}
        surplus = [name for name in surplus if name.startswith(trunk) or rows.get(name) != (n_embeddings,)]
    heads = [name for name in missing if not name.startswith(trunk)]
    if heads and heads == missing:
        raise MissingHeadError(
            f"{folder}: has no {heads[0]}, the head of a {type(model).__name__}, and holds {_kind_of(folder)}; give a "
            "folder of the kind that is needed"
        )
    if missing:
        raise InputError(
            f"{folder}: the weights lack {_enumerate(missing)}, which {CONFIG} asks for "
            f"({type(model).__name__}); {AGAIN}"
        )
    if surplus:
        raise InputError(
            f"{weights.files.get(surplus[0], folder)}: {_enumerate(surplus)} has no place in the "
            f"{type(model).__name__} that {CONFIG} describes; the folder holds {_kind_of(folder)}"
        )


def require_trial(folder: Path, model: Any) -> None:
    """Raises InputError where the model cannot read four tokens: its numbers fit the weights, but not each other."""
    fault = f"the {type(model).__name__} that it describes cannot read a text"
    with named_faults(folder / CONFIG, fault), torch.inference_mode():
        n_embeddings = model.get_input_embeddings().weight.shape[0]
        outputs = model(input_ids=torch.linspace(0, n_embeddings - 1, 4).long()[None])
    # Minus infinity is how some models forbid the tokens that fill up their vocabulary.
    answers = [value for value in outputs.values() if isinstance(value, torch.Tensor)]
    if any(bool((value.isnan() | value.isposinf()).any()) for value in answers):
        raise InputError(f"{folder}: the model answers NaN or Inf; its weights overflow, take another model")


def _kind_of(folder: Path) -> str:
    """Returns what the folder says it holds."""
    names = read_config(folder).get("architectures")
    return f"a {names[0]}" if isinstance(names, list) and names else "another kind of model"


def _label_hint(model: Any, name: str) -> str:
    is_head = not name.startswith(f"{model.base_model_prefix}.") and "SequenceClassification" in type(model).__name__
    return " (a reward model is a classifier with one label)" if is_head else ""


def _enumerate(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"

"""Models from a folder: transformers builds them and is handed the weights; a mismatch is an error that names it."""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from textrl_env.errors import InputError
from textrl_env.lm.loading.configs import CONFIG, load_config, load_generation_config, read_config
from textrl_env.lm.loading.folders import named_faults, require_folder
from textrl_env.lm.loading.mismatches import (
    require_all_weights,
    require_float_weights,
    require_sizes,
    require_trial,
)
from textrl_env.lm.loading.weights import Weights, open_weights, require_finite_tensors


def load_model(
    kind: Any,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    num_labels: int | None = None,
    layers: int | None = None,
    new_head: bool = False,
) -> Any:
    """Loads a model on the CPU, in eval mode; every weight comes from the folder's safetensors, none is left over.

    Args:
        kind: `AutoModelForCausalLM` or another of transformers.
        folder: the model's folder or its hub id, see `resolve_model`.
        dtype: of the parameters; None takes the configuration's, else that of the weights.
        num_labels: of a classifier.
        layers: only that many of the model's first layers.
        new_head: weights outside of the trunk may be missing, and are drawn from the global generator: a classifier
            that starts as a causal LM.

    Raises:
        InputError: the folder holds no whole model of this kind with finite weights, or only code of its own could
            load it. The folder or file at fault is named.
    """
    folder = require_folder(folder)
    values, config = read_config(folder), load_config(folder)
    if num_labels is not None:
        config.num_labels = num_labels
    whole_config, config = config, _with_layers(folder, config, layers)
    with named_faults(folder, "cannot be loaded"), open_weights(folder, values.get("transformers_weights")) as weights:
        skeleton = _build_skeleton(kind, folder, config)
        require_sizes(folder, skeleton, weights)
        require_float_weights(skeleton, weights)
        # What is missing would be drawn from the global generator before it is found missing.
        with _without_reports(), nullcontext() if new_head else torch.random.fork_rng(devices=[]):
            model, info = type(skeleton).from_pretrained(
                None,
                # A text model inside a larger one takes the part of the configuration that it was built from.
                config=config if isinstance(skeleton.config, type(config)) else config.get_text_config(),
                state_dict=weights.slices,
                dtype=dtype or _stored_dtype(config, weights),
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    spare = set() if layers is None else set(_build_skeleton(kind, folder, whole_config).state_dict())
    require_all_weights(folder, model, info, weights, spare=spare, new_head=new_head)
    require_finite_tensors(model.state_dict().items(), lambda name: weights.files.get(name, folder))
    if model.can_generate():
        model.generation_config = load_generation_config(folder)
    model.config.name_or_path = model.name_or_path = str(folder)
    require_trial(folder, model)
    return model


def load_into(model: Any, kind: Any, folder: str | Path, **options: Any) -> None:
    """Puts the weights of a folder into a model of the same kind and architecture, bit for bit.

    Args:
        model: of transformers, without adapters.
        kind: as for `load_model`.
        folder: as for `load_model`.
        options: of `load_model`; the parameters keep their type.

    Raises:
        InputError: the folder holds no such model, or one of another architecture.
    """
    source = load_model(kind, folder, dtype=next(model.parameters()).dtype, **options)
    require_same_shapes(folder, source, model)
    model.load_state_dict(source.state_dict())


def require_same_shapes(folder: str | Path, source: nn.Module, target: nn.Module) -> None:
    """Raises InputError, which names the first parameter that differs, unless both modules have one architecture.

    Args:
        folder: where the source is from.
        source: loaded.
        target: takes its parameters.
    """
    shapes, target_shapes = _shapes(source), _shapes(target)
    if shapes == target_shapes:
        return
    name = next(name for name in [*target_shapes, *shapes] if shapes.get(name) != target_shapes.get(name))
    raise InputError(
        f"{folder}: another architecture than that of the model at hand: {name} is {shapes.get(name, 'not there')}, "
        f"the model's is {target_shapes.get(name, 'not there')}; take the folder of a model that was made like it"
    )


def build_model(kind: Any, config: Any) -> Any:
    """Builds a model with random weights from a configuration, by transformers' own code only.

    Args:
        kind: `AutoModelForCausalLM` or another of transformers.
        config: of transformers.
    """
    with named_faults("the configuration", "no model can be built from it"):
        return kind.from_config(config, trust_remote_code=False)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def _with_layers(folder: Path, config: Any, layers: int | None) -> Any:
    """Returns the configuration of a model's first layers."""
    if layers is None:
        return config
    n_layers = config.get_text_config().num_hidden_layers
    if not 1 <= layers <= n_layers:
        raise InputError(f"layers must be in [1, {n_layers}], the layers of {folder}, got {layers}")
    config = copy.deepcopy(config)
    text_config = config.get_text_config()
    with named_faults(folder / CONFIG, f"its architecture cannot be cut to {layers} layers"):
        text_config.num_hidden_layers = layers
        for name, value in list(vars(text_config).items()):
            # One entry a layer: layer_types, for one.
            if re.search("layer|attention", name) and isinstance(value, list) and len(value) == n_layers:
                setattr(text_config, name, value[:layers])
        type(config).from_dict(config.to_dict())
    return config


def _build_skeleton(kind: Any, folder: Path, config: Any) -> Any:
    """Builds the model without memory for its parameters."""
    if type(config) not in kind._model_mapping:
        raise InputError(
            f"{folder / CONFIG}: {config.model_type} has no {kind.__name__.removeprefix('AutoModelFor')} in "
            "transformers; take a model of another architecture"
        )
    with named_faults(folder / CONFIG, "no model can be built from it"), _without_reports(), torch.device("meta"):
        return kind.from_config(copy.deepcopy(config), trust_remote_code=False)


def _stored_dtype(config: Any, weights: Weights) -> torch.dtype:
    """Returns the type that the configuration names, else the one of the first weights."""
    types = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
    dtypes = (types[weights.dtype(name)] for name in weights.slices if weights.dtype(name) in types)
    return config.dtype if isinstance(config.dtype, torch.dtype) else next(dtypes, torch.float32)


@contextmanager
def _without_reports() -> Iterator[None]:
    """Silences transformers' tables and bars: the errors here say what is wrong."""
    from transformers.utils import logging

    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()

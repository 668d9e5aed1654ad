"""Parts of a language model that are trained while the rest is frozen: LoRA adapters, or its top layers.

Low-rank adapters (Hu et al. 2021) go through peft: put on, saved, loaded, merged. They stand inside the model, in place
of the linear layers that they adapt, so every forward of this package sees them, the packed one too. Only they need
gradients; what is frozen is never copied.
"""

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from textrl_env.errors import InputError, require_above, require_count
from textrl_env.lm.loading import load_into, read_tensors
from textrl_env.training import seeded

_PREFIX = "base_model.model."
"""The place of the model inside a `peft.PeftModel`, with which names in an adapter's file begin."""


def with_lora(
    model: Any,
    *,
    rank: int = 16,
    alpha: float = 32.0,
    target_modules: str | list[str] = "all-linear",
    seed: int = 0,
) -> Any:
    """Puts a LoRA adapter on a causal LM or a classifier, in place, freezes the rest, and returns the model.

    W x becomes W x + alpha / rank · B A x with A (rank, in) random and B (out, rank) zero: at first nothing changes.
    A classifier's head, which is new, has no adapter and is trained as it is.

    Args:
        model: of transformers, `AutoModelForCausalLM` or `AutoModelForSequenceClassification`.
        rank: rank of the change to a weight matrix, at least 1.
        alpha: scale of the change, above 0.
        target_modules: names of the layers that get an adapter, as peft takes them; `"all-linear"` is every linear
            layer but the output head.
        seed: of the random A.

    Raises:
        InputError: an impossible option, a model that has adapters already, or peft not installed.
    """
    require_count(1, rank=rank)
    require_above(0, alpha=alpha)
    if has_adapters(model):
        raise InputError("this model has adapters already; use it as it is")
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.utils.constants import SEQ_CLS_HEAD_NAMES
    except ImportError:
        raise InputError("LoRA needs the package peft: pip install 'textrl-env[peft]'") from None
    classifies = model.get_output_embeddings() is None
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=target_modules,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type="SEQ_CLS" if classifies else "CAUSAL_LM",
        base_model_name_or_path=model.name_or_path or None,
    )
    try:
        with seeded(seed, next(model.parameters()).device):
            inject_adapter_in_model(config, model)
    except ValueError as error:
        raise InputError(f"target_modules={target_modules!r} does not fit this model: {error}") from None
    if classifies:
        # Only now: if peft knew of the head before, it would put a wrapper in its place.
        config.modules_to_save = [name for name in SEQ_CLS_HEAD_NAMES if hasattr(model, name)]
        for name in config.modules_to_save:
            getattr(model, name).requires_grad_(True)
    return model


def has_adapters(model: Any) -> bool:
    """Says whether peft's layers stand inside a model."""
    return hasattr(model, "peft_config")


def unwrap(model: Any) -> Any:
    """Returns the transformers model inside a `peft.PeftModel`, its adapters in place; any other model as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def trunk_copy(policy: Any) -> Any:
    """Copies a causal LM's trunk; the copy shares the parameters without gradients, which never change, with it."""
    trunk: nn.Module = policy.base_model
    duplicate: Any = copy.deepcopy(trunk, {id(value): value for value in trunk.parameters() if not value.requires_grad})
    if has_adapters(policy):
        duplicate.peft_config = {name: replace(config, task_type=None) for name, config in policy.peft_config.items()}
    return duplicate


def merge(model: Any) -> Any:
    """Copies a model with adapters; in the copy their changes are added to the weights: the plain architecture."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    plain = copy.deepcopy(model)
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(plain.get_submodule(parent), child, layer.get_base_layer())
    del plain.peft_config
    return plain


def save_model(model: Any, folder: Path) -> None:
    """Writes a model that transformers loads; of one with adapters, merged, and they themselves into `adapter/`.

    `peft.PeftModel.from_pretrained(base, folder / "adapter")` puts them on the model that training started from.
    """
    if (folder / "adapter" / "adapter_config.json").is_file():
        shutil.rmtree(folder / "adapter")  # An earlier model's.
    if not has_adapters(model):
        model.save_pretrained(folder)
        return
    merge(model).save_pretrained(folder)
    (folder / "adapter").mkdir()
    (config,) = model.peft_config.values()
    replace(config, inference_mode=True).save_pretrained(folder / "adapter")
    tensors = {f"{_PREFIX}{name}": value.contiguous() for name, value in _trained_parameters(model).items()}
    save_file(tensors, folder / "adapter" / "adapter_model.safetensors")


def load_saved(model: Any, folder: Path) -> None:
    """Puts the parameters that `save_model` wrote into a causal LM of the same kind, bit for bit."""
    if has_adapters(model):
        load_adapters(model, folder)
    else:
        load_into(model, AutoModelForCausalLM, folder)


def load_adapters(model: Any, folder: Path) -> None:
    """Puts the adapters that `save_model` wrote into a model that has the same kind.

    Raises:
        InputError: the folder holds none, or those of another kind.
    """
    from peft import set_peft_model_state_dict

    file = folder / "adapter" / "adapter_model.safetensors"
    if not file.is_file():
        raise InputError(f"{folder}: no adapter here, but the model has one; it is from a run without LoRA")
    tensors = {name.removeprefix(_PREFIX): value for name, value in read_tensors(file).items()}
    shapes = {name: value.shape for name, value in _trained_parameters(model).items()}
    if shapes != {name: value.shape for name, value in tensors.items()}:
        raise InputError(f"{file}: adapters of another rank or on other layers; make the model with the run's options")
    set_peft_model_state_dict(model, tensors)


def _trained_parameters(model: Any) -> dict[str, Tensor]:
    """Returns the adapters, and the head that is trained beside them, named as peft names them in a file."""
    from peft import get_peft_model_state_dict

    (config,) = model.peft_config.values()
    # A `peft.PeftModel` wraps such a head, and then peft itself gives its parameters.
    heads = [name for name in config.modules_to_save or () if isinstance(getattr(model, name, None), nn.Linear)]
    beside = {f"{head}.{name}": value for head in heads for name, value in getattr(model, head).state_dict().items()}
    return {**get_peft_model_state_dict(model), **beside}


def train_top_layers(model: Any, n: int | None) -> None:
    """Freezes a model of transformers but for its last `n` layers, its final norm and a classifier's score head.

    Embeddings stay frozen, and with them an output head that is tied to them. `None` leaves the model as it is.

    Raises:
        InputError: `n` is not in [1, number of layers], or the model has no list of layers.
    """
    if n is None:
        return
    trunk = model.base_model
    stack = next((part for part in trunk.children() if isinstance(part, nn.ModuleList)), None)
    if stack is None:
        raise InputError(f"{type(model).__name__} has no list of layers, so none of them can be frozen")
    if not 1 <= n <= len(stack):
        raise InputError(f"the number of trained layers must be in [1, {len(stack)}], got {n}")
    model.requires_grad_(False)
    above = [part for part in trunk.children() if not isinstance(part, nn.Embedding | nn.ModuleList)]
    for part in (*stack[-n:], *above, *filter(None, [getattr(model, "score", None)])):
        part.requires_grad_(True)

"""The frozen policy of KL shaping from the policy's own weights: adapters off, and they are what training started from.

One copy of the weights serves both, where `FrozenReference` holds a second one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from textrl_env.errors import InputError
from textrl_env.reference import FrozenReference


class AdapterOffReference(FrozenReference):
    """The reference under a policy that trains adapters of peft; equal to a `FrozenReference` of the model without.

    Args:
        model: a causal LM with adapters in place, whose other parameters are frozen. Shared, not copied.
        vocab_size, temperature, precision: as for `FrozenReference`.

    Raises:
        InputError: no adapters, or something beside them is trained, so that the reference would change.
    """

    def _fixed(self, model: Any) -> Any:
        if not hasattr(model, "peft_config"):
            raise InputError("the model has no adapters to switch off: pass with_lora(model), or use FrozenReference")
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.adapted = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        inside = {id(value) for layer in self.adapted for value in layer.parameters()}
        beside = [name for name, value in model.named_parameters() if value.requires_grad and id(value) not in inside]
        weights = [layer.get_base_layer().weight for layer in self.adapted]
        if beside or any(weight.requires_grad for weight in weights):
            name = (beside or ["an adapted weight"])[0]
            raise InputError(f"with adapters off the model would still change: {name} is trained; use FrozenReference")
        return model

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Within, the model's adapters are off."""
        for layer in self.adapted:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self.adapted:
                layer.enable_adapters(True)

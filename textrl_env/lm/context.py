"""The context of a language model: the most tokens that it takes."""

from collections.abc import Mapping
from typing import Any

LIMITS = ("max_position_embeddings", "max_seq_len", "max_target_positions")
"""Settings that bound a text, by the names that architectures give them; GPT-2's `n_positions` is the first's alias."""


def context_length(source: Any) -> int | None:
    """Returns the most tokens of a text that a model takes, or None where nothing bounds them.

    Positions that are embedded or rotated end at `max_position_embeddings` (MPT: `max_seq_len`). YaRN stretches them:
    there it is what the scaling declares, `factor · original_max_position_embeddings`, where that is more. ALiBi
    (BLOOM, some Falcons) and recurrent models (Mamba) have no limit.

    Args:
        source: a model of transformers or its configuration, which may hold that of a text model among others. A model
            says more: RoBERTa's first positions belong to padding.
    """
    config = getattr(source, "config", source).get_text_config(decoder=True)
    if getattr(config, "alibi", False) is True:
        return None
    limits = [limit for limit in (_setting(config, name) for name in LIMITS) if isinstance(limit, int) and limit > 0]
    if not limits:
        return None
    return max(limits[0], _yarn_length(config)) - _padding_positions(source)


def embeds_padding_positions(model: Any) -> bool:
    """True where a model counts positions from its padding id on, as RoBERTa does."""
    return _padding_positions(model) > 0


def _setting(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except NotImplementedError:  # XLNet says in this way that it has no limit.
        return None


def _yarn_length(config: Any) -> int:
    """Returns the length that YaRN declares; 0 where there is none."""
    scaling = getattr(config, "rope_parameters", None) or {}
    # By kind of layer, where these differ.
    kinds = [scaling, *(value for value in scaling.values() if isinstance(value, Mapping))]
    yarn = [kind for kind in kinds if kind.get("rope_type") == "yarn"]
    lengths = [(kind.get("factor") or 0) * (kind.get("original_max_position_embeddings") or 0) for kind in yarn]
    return int(max(lengths, default=0))


def _padding_positions(source: Any) -> int:
    """Returns how many of a model's embedded positions no token takes."""
    if not hasattr(source, "named_modules"):
        return 0
    tables = [module for name, module in source.named_modules() if name.endswith("position_embeddings")]
    paddings = [getattr(table, "padding_idx", None) for table in tables]
    return max((padding + 1 for padding in paddings if padding is not None), default=0)

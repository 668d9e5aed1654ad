from .context import context_length as context_length
from .loading import (
    check_fits as check_fits,
    load_config as load_config,
    load_model as load_model,
    load_tokenizer as load_tokenizer,
    resolve_model as resolve_model,
)
from .precision import (
    Precision as Precision,
    as_device as as_device,
    autocast as autocast,
    checked_precision as checked_precision,
    rounded_copy as rounded_copy,
)

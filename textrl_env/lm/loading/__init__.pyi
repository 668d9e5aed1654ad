from .configs import load_config as load_config, load_generation_config as load_generation_config
from .fits import check_fits as check_fits
from .folders import read_object as read_object, resolve_model as resolve_model
from .mismatches import MissingHeadError as MissingHeadError
from .models import (
    build_model as build_model,
    load_into as load_into,
    load_model as load_model,
    require_same_shapes as require_same_shapes,
)
from .tokenizers import load_tokenizer as load_tokenizer
from .weights import read_tensors as read_tensors

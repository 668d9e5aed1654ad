from .devices import as_device as as_device
from .precision import Precision as Precision, autocast as autocast, checked_precision as checked_precision
from .pretrained import load_config as load_config, load_model as load_model, load_tokenizer as load_tokenizer

from .trainable_parts import (
    has_adapters as has_adapters,
    load_adapters as load_adapters,
    load_saved as load_saved,
    save_model as save_model,
    train_top_layers as train_top_layers,
    trunk_copy as trunk_copy,
    unwrap as unwrap,
    with_lora as with_lora,
)

from .configs import DPOConfig as DPOConfig, KTOConfig as KTOConfig, SFTConfig as SFTConfig
from .dpo import train_dpo as train_dpo
from .kto import train_kto as train_kto
from .rows import read_demonstration as read_demonstration
from .sft import encode_demonstrations as encode_demonstrations, train_sft as train_sft

from .dpo import train_dpo as train_dpo
from .dpo_config import DPOConfig as DPOConfig
from .kto import train_kto as train_kto
from .kto_config import KTOConfig as KTOConfig
from .sft import train_sft as train_sft
from .sft_config import SFTConfig as SFTConfig

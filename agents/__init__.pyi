from .a2c import A2C as A2C
from .grpo import GRPO as GRPO, DrGRPO as DrGRPO
from .offline.configs import DPOConfig as DPOConfig, KTOConfig as KTOConfig, SFTConfig as SFTConfig
from .offline.dpo import train_dpo as train_dpo
from .offline.kto import train_kto as train_kto
from .offline.sft import train_sft as train_sft
from .on_policy.loop import OnPolicyAlgorithm as OnPolicyAlgorithm
from .policy.actor_critic import ActorCriticLM as ActorCriticLM
from .policy.parameters import init_critic_from as init_critic_from
from .policy.small_models import small_llama as small_llama, train_tokenizer as train_tokenizer
from .ppo import PPO as PPO
from .reinforce import REINFORCE as REINFORCE
from .rejection import RejectionSampling as RejectionSampling
from .rloo import RLOO as RLOO
from .rollout import Batch as Batch, Rollout as Rollout, Targets as Targets
from .rollouts.collection import collect as collect
from .rollouts.sampling import sample_completions as sample_completions

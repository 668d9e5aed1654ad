from .actor_critic import ActorCriticLM as ActorCriticLM, CriticKind as CriticKind
from .critic_init import init_critic_from as init_critic_from
from .draws import draw as draw
from .export import ModelCard as ModelCard, export_policy as export_policy
from .llama import small_llama as small_llama
from .sb3_policy import CausalLMPolicy as CausalLMPolicy
from .tokenizer import train_tokenizer as train_tokenizer

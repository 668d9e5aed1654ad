from .actor_critic import ActorCriticLM as ActorCriticLM
from .export import ModelCard as ModelCard, export_policy as export_policy
from .networks import (
    CriticKind as CriticKind,
    TokenEvaluation as TokenEvaluation,
    check_logits as check_logits,
    draw as draw,
)
from .parameters import init_critic_from as init_critic_from
from .sb3_policy import CausalLMPolicy as CausalLMPolicy
from .small_models import small_llama as small_llama, train_tokenizer as train_tokenizer

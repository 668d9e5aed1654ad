"""A critic that starts as a reward model says its scores; whatever does not go together is named."""

from pathlib import Path
from typing import Any

import pytest
import torch

from textrl_env import InputError
from textrl_env.agents import ActorCriticLM, train_tokenizer
from textrl_env.agents.policy import init_critic_from
from textrl_env.lm.adapters import with_lora
from textrl_env.reward_models import RewardModel

TEXTS = ["aab", "b", "a longer text", "ab"]


@pytest.fixture
def made(make_model: Any, tmp_path: Path) -> Any:
    """A policy of a kind, and the folder of a reward model with weights of its own."""

    def make(kind: str, **options: Any) -> tuple[Any, Path, Any]:
        tokenizer = train_tokenizer(["ab"], vocab_size=259)
        folder = tmp_path / kind
        make_model(kind, vocab_size=len(tokenizer), seed=1, **options).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        reward_model = RewardModel.from_pretrained(folder, seed=5)
        reward_model.normalize(["p"] * len(TEXTS), TEXTS)
        reward_model.save_pretrained(tmp_path / "reward_model")
        return make_model(kind, vocab_size=len(tokenizer)), tmp_path / "reward_model", reward_model.tokenizer

    return make


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_after_the_end_token_its_value_is_the_score(made: Any, kind: str, tmp_path: Path) -> None:
    policy, folder, tokenizer = made(kind)
    agent = ActorCriticLM(policy, vocab_size=len(tokenizer))
    start = {name: value.clone() for name, value in agent.policy.state_dict().items()}
    init_critic_from(agent, folder, tokenizer)
    reward_model = RewardModel.from_pretrained(folder)
    scores = reward_model.score(["p"] * len(TEXTS), TEXTS)

    def value(agent: ActorCriticLM, text: str) -> float:
        ids = torch.tensor([reward_model.encode("p", text)])
        read = torch.zeros_like(ids, dtype=torch.bool)
        read[0, -1] = True
        return float(agent.state_values(ids, torch.ones_like(read), read).detach())

    assert [value(agent, text) for text in TEXTS] == pytest.approx(scores.tolist(), abs=1e-4)
    assert all(torch.equal(value, start[name]) for name, value in agent.policy.state_dict().items())
    agent.save_pretrained(tmp_path / "agent")
    again = ActorCriticLM.from_pretrained(tmp_path / "agent")
    assert [value(again, text) for text in TEXTS] == pytest.approx(scores.tolist(), abs=1e-4)


def test_what_does_not_go_together_is_named(made: Any, make_model: Any, tmp_path: Path) -> None:
    policy, folder, tokenizer = made("llama")
    vocab_size = len(tokenizer)
    with pytest.raises(InputError, match="only a critic='separate' can start as a reward model, this one is 'shared'"):
        init_critic_from(ActorCriticLM(policy, vocab_size=vocab_size, critic="shared"), folder, tokenizer)
    agent = ActorCriticLM(policy, vocab_size=vocab_size)
    with pytest.raises(InputError, match=r"llama: no reward model .* but \['LlamaForCausalLM'\]"):
        init_critic_from(agent, tmp_path / "llama", tokenizer)
    with pytest.raises(InputError, match="its tokens are not the policy's"):
        init_critic_from(agent, folder, train_tokenizer(["xyxyxy"] * 9, vocab_size=261))
    wide = ActorCriticLM(make_model("llama", vocab_size=vocab_size, width=64), vocab_size=vocab_size)
    with pytest.raises(InputError, match=r"embed_tokens.weight is \(259, 32\), the model's is \(259, 64\)"):
        init_critic_from(wide, folder, tokenizer)
    deep = ActorCriticLM(make_model("llama", vocab_size=vocab_size, layers=3), vocab_size=vocab_size)
    with pytest.raises(InputError, match=r"layers.2.* is not there"):
        init_critic_from(deep, folder, tokenizer)
    adapted = ActorCriticLM(with_lora(make_model("llama", vocab_size=vocab_size)), vocab_size=vocab_size)
    with pytest.raises(InputError, match="shares the policy's frozen weights"):
        init_critic_from(adapted, folder, tokenizer)

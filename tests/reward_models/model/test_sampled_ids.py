"""A reward model reads what the policy sampled: its ids where the tokenizers are alike, else its text, cut to fit."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from transformers import AutoTokenizer

from textrl_env import InputError, KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM, train_tokenizer
from textrl_env.reference import FrozenReference
from textrl_env.reward_models import ModelReward, RewardModel
from textrl_env.reward_models.model import ConservativeReward, IndependentEnsemble, RewardEnsemble
from textrl_env.reward_models.model.sampled_ids import SampledIds, TokenizerComparison, truncate
from textrl_env.worlds import LetterTokenizer

CONTEXT = 64


@pytest.fixture
def tokenizer() -> Any:
    """Bytes, and one merge: `ab` is a token, and so are its letters."""
    return train_tokenizer(["ab ab ab ab"], vocab_size=260)


@pytest.fixture
def reward_model(make_model: Any, tokenizer: Any, tmp_path: Path) -> RewardModel:
    model = make_model("gpt2", vocab_size=len(tokenizer))
    model.save_pretrained(tmp_path / "rm")
    tokenizer.save_pretrained(tmp_path / "rm")
    return RewardModel.from_pretrained(tmp_path / "rm", seed=0)


def score_alone(reward_model: RewardModel, ids: list[int]) -> float:
    with torch.no_grad():
        return float(reward_model.model(input_ids=torch.tensor([ids])).logits)


def run_episode(env: TextGenVectorEnv, actions: list[list[int]]) -> dict[str, Any]:
    """Chooses `actions`, one list a slot, until the last step; returns its info."""
    env.reset(seed=0)
    for step in range(len(actions[0])):
        *_, info = env.step(np.array([row[step] for row in actions]))
    return dict(info)


def make_env(reward: Any, tokenizer: Any, n_new: int, **options: Any) -> TextGenVectorEnv:
    prompts = options.pop("prompts", ["a question", "an"])
    options = {"num_envs": 2, "autoreset_mode": "Disabled"} | options
    return TextGenVectorEnv(prompts, reward, tokenizer, max_new_tokens=n_new, **options)


def test_half_characters_and_unmerged_letters_are_scored_as_they_were_sampled_up_to_the_whole_context(
    reward_model: RewardModel, tokenizer: Any
) -> None:
    longest = len(tokenizer("a question")["input_ids"])
    n_new = CONTEXT - 1 - longest
    env = make_env(ModelReward(reward_model), tokenizer, n_new)
    # The first byte of a character of three: as text it is a replacement character, which has three tokens.
    (half,) = set(tokenizer("é", add_special_tokens=False)["input_ids"][:1])
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "ab"]
    actions = [[half] * n_new, (letters * n_new)[:n_new]]
    assert tokenizer("ab", add_special_tokens=False)["input_ids"] not in (letters, [half, half])
    info = run_episode(env, actions)
    prompts = [tokenizer(env.task.prompts.prompts[index])["input_ids"] for index in info["prompt_index"]]
    expected = [
        score_alone(reward_model, [*prompt, *row, tokenizer.eos_token_id])
        for prompt, row in zip(prompts, actions, strict=True)
    ]
    np.testing.assert_allclose(info["score"], expected, atol=1e-5)
    assert reward_model.n_truncated == 0


def test_ids_that_are_those_of_the_text_have_its_score_bit_for_bit(reward_model: RewardModel, tokenizer: Any) -> None:
    prompts, texts = ["a question", "b", "ab ab"], [" an answer", "ab", ""]
    prompt_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    reward = ModelReward(reward_model)
    for reasons in (None, ["length"] * 3):
        scores = reward(
            prompts, texts, prompt_ids=prompt_ids, completion_ids=ids, finish_reason=reasons, tokenizer=tokenizer
        )
        np.testing.assert_array_equal(scores, reward_model.score(prompts, texts))
        np.testing.assert_array_equal(scores, reward(prompts, texts))


def test_one_end_token_whatever_ended_a_completion(reward_model: RewardModel, tokenizer: Any) -> None:
    a, end, other_end = tokenizer.convert_tokens_to_ids("a"), tokenizer.eos_token_id, 5
    reward = ModelReward(reward_model)

    def score(ids: list[int], reason: str | None, text: str = "?") -> float:
        reasons = None if reason is None else [reason]
        (value,) = reward(
            ["b"], [text], prompt_ids=[[1, 7]], completion_ids=[ids], finish_reason=reasons, tokenizer=tokenizer
        )
        return value

    expected = pytest.approx(score_alone(reward_model, [1, 7, a, end]), abs=1e-5)
    assert score([a], "length") == expected
    assert score([a, end], "eos") == expected
    assert score([a, other_end], "eos") == expected
    assert score([a, end], None) == expected
    # A text that stops before a stop string is less than its tokens.
    assert score([a, a, a], "stop", text="a") == pytest.approx(float(reward_model.score(["b"], ["a"])[0]))


def test_a_function_that_changes_the_text_and_hands_all_on_has_its_text_scored(
    reward_model: RewardModel, tokenizer: Any
) -> None:
    inner = ModelReward(reward_model)

    def without_a(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        return inner(prompts, [text.replace("a", "") for text in completions], **columns)

    info = run_episode(make_env(without_a, tokenizer, 3), [[tokenizer.convert_tokens_to_ids("a")] * 3] * 2)
    env = make_env(without_a, tokenizer, 3)
    prompts = [env.task.prompts.prompts[index] for index in info["prompt_index"]]
    np.testing.assert_allclose(info["score"], reward_model.score(prompts, ["", ""]), atol=1e-6)


@pytest.mark.parametrize("end", [0, 1])
@given(st.integers(0, 9), st.integers(0, 9), st.integers(2, 12), st.booleans())
def test_what_is_cut_is_the_beginning_of_the_prompt_and_then_the_end_of_the_completion(
    end: int, n_prompt: int, n_completion: int, limit: int, bos: bool
) -> None:
    prompt, completion = [f"p{i}" for i in range(n_prompt)], [f"c{i}" for i in range(n_completion)] + ["end"] * end
    first = int(bos and n_prompt > 0)
    ids = truncate(prompt, completion, limit, keep=(first, end))  # type: ignore[arg-type]
    assert len(ids) == min(limit, len(prompt) + len(completion))
    # One token after the other is taken away, as the rule says it, until the rest fits.
    head, middle, body, tail = prompt[:first], prompt[first:], completion[: len(completion) - end], ["end"] * end
    while len(head + middle + body + tail) > limit:
        if middle:
            middle = middle[1:]
        elif body:
            body = body[:-1]
        else:
            head = head[1:]
    assert ids == head + middle + body + tail


def test_texts_of_another_tokenizer_are_cut_counted_and_warned_of_once(
    reward_model: RewardModel, make_model: Any
) -> None:
    class Words(LetterTokenizer):
        """A policy's tokenizer whose tokens are long words for the reward model."""

        def decode(self, token_ids: Any, *, skip_special_tokens: bool = False) -> str:
            return " ".join("word" + "abcdefgh"[number] for number in token_ids if number)

    env = make_env(ModelReward(reward_model), Words(8), 30, prompts=["abc", "d"])
    with pytest.warns(UserWarning, match=r"reads at most 64 tokens: .* is cut, and so will be others") as caught:
        info = run_episode(env, [[3] * 30, [4] * 30])
    assert len([entry for entry in caught if "is cut" in str(entry.message)]) == 1
    assert reward_model.n_truncated == 2 and np.isfinite(info["score"]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_episode(env, [[3] * 30, [4] * 30])
    assert reward_model.n_truncated == 4 == env.task.rewards.n_truncated
    encoded = reward_model.encode_sampled(["a question"], ["abc " * 40])[0]
    eos, bos = reward_model.tokenizer.eos_token_id, reward_model.tokenizer.bos_token_id
    assert len(encoded) == CONTEXT and encoded[0] == bos and encoded[-1] == eos
    assert ("abc " * 40).startswith(reward_model.tokenizer.decode(encoded[1:-1]))
    # Rows of a training are the user's own: there it is an error that names the row.
    with pytest.raises(InputError, match=r"rows.jsonl:3: .* context is 64"):
        reward_model.encode("a", "b" * 100, where="rows.jsonl:3")


def test_the_environment_asks_every_model_for_its_context_when_it_is_made(
    reward_model: RewardModel, tokenizer: Any, make_model: Any
) -> None:
    longest = len(tokenizer("a question")["input_ids"])
    model = make_model("llama", vocab_size=len(tokenizer))
    shaping = {"kl": KLShaping(0.1), "reference": FrozenReference(model, vocab_size=len(tokenizer))}
    for kind in (TextGenEnv, TextGenVectorEnv):
        room = CONTEXT - longest
        common = (["a question", "an"], ModelReward(reward_model), tokenizer)
        kind(*common, max_new_tokens=room - 1)
        with pytest.raises(InputError, match=f"up to {CONTEXT} tokens and the end token do not fit the reward model's"):
            kind(*common, max_new_tokens=room)
        for reward in (
            {"a": ModelReward(reward_model), "b": len_reward},
            ModelReward(IndependentEnsemble([reward_model, copy.deepcopy(reward_model)])),
        ):
            with pytest.raises(InputError, match="reward model's context of 64"):
                kind(common[0], reward, tokenizer, max_new_tokens=room)
        kind(common[0], len_reward, tokenizer, max_new_tokens=room, **shaping)
        with pytest.raises(InputError, match=rf"of {room + 1} tokens do not fit the reference's context of 64"):
            kind(common[0], len_reward, tokenizer, max_new_tokens=room + 1, **shaping)


def len_reward(prompts: list[str], completions: list[str]) -> list[float]:
    return [float(len(text)) for text in completions]


def test_ensembles_read_ids_and_each_member_in_its_own_way(
    reward_model: RewardModel, make_reward_model: Any, tokenizer: Any
) -> None:
    other = make_reward_model("llama")  # Whose tokenizer knows no `ab`.
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "ab"]
    columns: dict[str, Any] = {"prompt_ids": [[1, 7]], "completion_ids": [letters], "tokenizer": tokenizer}
    prompt = tokenizer.decode([7])
    by_ids = score_alone(reward_model, [1, 7, *letters, 2])
    by_text = float(other.score([prompt], ["ab"])[0])
    members = IndependentEnsemble([reward_model, other])
    assert ModelReward(members)([prompt], ["ab"], **columns)[0] == pytest.approx((by_ids + by_text) / 2, abs=1e-5)
    lowest = ConservativeReward(members, pessimism="minimum")
    assert lowest([prompt], ["ab"], **columns)[0] == pytest.approx(min(by_ids, by_text), abs=1e-5)
    heads = RewardEnsemble.around(reward_model, n_members=3)
    expected = heads.score_sequences([[1, 7, *letters, 2]])[0]
    assert ModelReward(heads)([prompt], ["ab"], **columns)[0] == pytest.approx(expected, abs=1e-6)
    assert expected != pytest.approx(float(heads.score([prompt], ["ab"])[0]), abs=1e-4)


def test_a_scorer_that_knows_texts_alone_is_given_texts(tokenizer: Any) -> None:
    class Lengths:
        def score(self, prompts: Any, completions: Any) -> Any:
            return np.array([float(len(text)) for text in completions])

        def freeze(self) -> None:
            pass

    info = run_episode(make_env(ModelReward(Lengths()), tokenizer, 3), [[tokenizer.convert_tokens_to_ids("a")] * 3] * 2)
    assert list(info["score"]) == [3, 3]


def test_tokenizers_are_alike_where_they_encode_alike(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    alike = TokenizerComparison(tokenizer)
    assert alike.encodes_as(tokenizer) and alike.encodes_as(again)
    again(["a", "abc"], padding=True, truncation=True, max_length=2)
    assert TokenizerComparison(tokenizer).encodes_as(again)
    with_another_end = copy.deepcopy(again)
    with_another_end.eos_token = "<pad>"
    larger = copy.deepcopy(again)
    larger.add_tokens(["hello"])
    for unlike in (with_another_end, larger, train_tokenizer(["xy"], vocab_size=260), LetterTokenizer(8), object()):
        assert not alike.encodes_as(unlike)
    # One of the user's own is like itself.
    letters = LetterTokenizer(8)
    assert TokenizerComparison(letters).encodes_as(letters)
    again.chat_template = "{{ messages }}"
    assert alike.renders_as(again, "text") and not alike.renders_as(again, [{"role": "user", "content": "text"}])


def test_conversations_are_scored_from_ids_only_where_both_have_one_chat_template(
    reward_model: RewardModel, tokenizer: Any
) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.chat_template = reward_model.tokenizer.chat_template = template
    prompt, answer = [{"role": "user", "content": "b"}], [{"role": "assistant", "content": "ab"}]
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "ab"]
    columns: dict[str, Any] = {"prompt_ids": [[7]], "completion_ids": [letters], "tokenizer": tokenizer}
    reward = ModelReward(reward_model)
    assert reward([prompt], [answer], **columns)[0] == pytest.approx(
        score_alone(reward_model, [7, *letters, 2]), abs=1e-5
    )
    reward_model.tokenizer.chat_template = "user: " + template
    assert reward([prompt], [answer], **columns)[0] == pytest.approx(float(reward_model.score([prompt], ["ab"])[0]))


@pytest.mark.parametrize("weight", ["score.weight", "transformer.wte.weight"])
def test_a_score_that_is_no_number_names_the_folder_and_the_parameter(reward_model: RewardModel, weight: str) -> None:
    with torch.no_grad():
        reward_model.model.get_parameter(weight).fill_(float("nan"))
    with pytest.raises(InputError, match=rf"rm gave a score of nan: its parameter {weight} holds NaN or Inf"):
        reward_model.score(["a"], ["b"])
    heads = RewardEnsemble.around(reward_model, n_members=2)
    if weight != "score.weight":
        with pytest.raises(InputError, match=r"its parameter transformer\.wte\.weight holds NaN or Inf"):
            heads.member_scores(["a"], ["b"])


def test_a_run_logs_how_many_completions_were_cut(reward_model: RewardModel, make_model: Any) -> None:
    class Words(LetterTokenizer):
        def decode(self, token_ids: Any, *, skip_special_tokens: bool = False) -> str:
            return "a long word " * len(token_ids)

    env = TextGenVectorEnv(
        ["abc"], ModelReward(reward_model), Words(8), num_envs=2, autoreset_mode="Disabled", max_new_tokens=8
    )
    ppo = PPO(ActorCriticLM(make_model("gpt2"), vocab_size=8), env, n_episodes=4, n_epochs=1, seed=0)
    with pytest.warns(UserWarning, match="is cut"):
        ppo.learn(total_updates=1)
    assert ppo.state.last_row["rollout/n_truncated"] == reward_model.n_truncated > 0


def test_ids_of_completions_end_with_no_end_token() -> None:
    letters = LetterTokenizer(8)
    sample = SampledIds.of_completions(
        letters, [[1]] * 4, [[2, 0], [2, 5], [2], [2, 3]], ["eos", "eos", "length", "stop"]
    )
    assert sample.completion_ids == [[2], [2], [2], None]
    assert SampledIds.of_completions(letters, [[1]] * 2, [[2, 0], [2]]).completion_ids == [[2], [2]]

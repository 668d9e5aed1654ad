"""Prompts that are conversations: rendered as transformers does, passed to reward functions as TRL does."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from textrl_env import InputError, PromptDataset, TextGenEnv, TextGenVectorEnv
from textrl_env.agents import train_tokenizer
from textrl_env.reward_models import ModelReward, RewardModel
from textrl_env.worlds import LetterTokenizer

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
HELLO = [{"role": "system", "content": ""}, {"role": "user", "content": "hello there"}]
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "weather", "arguments": "{}"}}]}
BYE = [{"role": "user", "content": "bye", "name": "Eve"}]
ROWS = [{"prompt": HELLO, "answer": "a"}, {"prompt": BYE, "answer": "b"}]


def chat_tokenizer() -> Any:
    tokenizer = train_tokenizer(["hello there, bye"], vocab_size=270)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def look(seen: list[Any]) -> Any:
    def reward(prompts: list[Any], completions: list[Any], answer: list[Any] | None = None) -> list[float]:
        seen.append((prompts, completions, answer))
        return [0.0] * len(prompts)

    return reward


def test_token_ids_are_those_of_transformers_with_one_bos() -> None:
    tokenizer = chat_tokenizer()
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    env = TextGenEnv(ROWS, look([]), tokenizer, include_text=True)
    for index, messages in enumerate([HELLO, BYE]):
        observation, info = env.reset(options={"prompt_index": index})
        ids = observation["input_ids"][observation["attention_mask"] == 1].tolist()
        assert ids == tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        assert ids.count(tokenizer.bos_token_id) == 1
        assert info["prompt"] == tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)


def test_reward_functions_receive_messages_as_from_trl() -> None:
    tokenizer, seen = chat_tokenizer(), []
    env = TextGenVectorEnv(ROWS, look(seen), tokenizer, num_envs=2, autoreset_mode="Disabled")
    env.reset(options={"prompt_index": [1, 0]})
    env.step([tokenizer.encode("h", add_special_tokens=False)[0]] * 2)
    env.step([tokenizer.eos_token_id] * 2)
    answer = [{"role": "assistant", "content": "h"}]
    assert seen == [([BYE, HELLO], [answer, answer], ["b", "a"])]


def test_a_conversation_may_come_with_reset_one_for_all_slots_or_one_each() -> None:
    tokenizer, seen = chat_tokenizer(), []
    env = TextGenVectorEnv(ROWS, look(seen), tokenizer, num_envs=2, autoreset_mode="Disabled", max_new_tokens=1)
    for option, expected in ((BYE, [BYE, BYE]), ([HELLO, BYE], [HELLO, BYE])):
        env.reset(options={"prompt": option})
        env.step([tokenizer.eos_token_id] * 2)
        assert seen[-1][0] == expected
    with pytest.raises(InputError, match="reset option 'prompt' must be a list, as the dataset's prompts are"):
        env.reset(options={"prompt": "hello"})


def test_a_reward_model_judges_what_its_own_template_renders(make_model: Any, tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    model = make_model("llama", vocab_size=len(tokenizer))
    model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id = 0, 1, 2
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    judge = RewardModel.from_pretrained(tmp_path, seed=0)
    ids = tokenizer.apply_chat_template(BYE, add_generation_prompt=True)["input_ids"]
    expected = judge.forward([[*ids, *tokenizer.encode("hi", add_special_tokens=False), tokenizer.eos_token_id]])
    judged = ModelReward(judge)([BYE], [[{"role": "assistant", "content": "hi"}]])
    assert judged == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_tokenizer_without_template_is_named_with_the_row_and_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text("\n" + "\n".join(json.dumps(row) for row in ROWS))
    plain = train_tokenizer(["hello"], vocab_size=260)
    for tokenizer in (plain, LetterTokenizer(8)):
        with pytest.raises(InputError, match=r"chat\.jsonl:2: .*no chat template; take .*set tokenizer\.chat_template"):
            TextGenEnv(path, look([]), tokenizer)


def test_a_template_that_refuses_a_conversation_is_named_with_the_row() -> None:
    tokenizer = chat_tokenizer()
    tokenizer.chat_template = "{% if messages[0]['role'] == 'user' %}{{ raise_exception('system first') }}{% endif %}x"
    with pytest.raises(InputError, match="prompt 1: the tokenizer's chat template refuses the prompt: system first"):
        TextGenEnv(ROWS, look([]), tokenizer)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "is empty"),
        ([{"role": "user", "content": " "}], "is empty"),
        ([{"content": "a"}], r"'role', but message 1 has none \(found: 'content'\)"),
        ([{"role": "user", "content": "a"}, {"role": "user"}], "'content', but message 2 has none"),
        ([{"role": "user", "content": None}], "'content' of message 1 must be text, got null"),
        ([{"role": "user", "content": {"text": "a"}}], "'content' of message 1 must be text, got dict"),
        ([{"role": "user", "content": [{"type": "text"}]}], "'content' of message 1 must have a 'text' in every part"),
        ([{"role": "user", "content": [{"type": "image"}]}], "parts of type 'text', but part 1 is 'image'"),
        ([{"role": "user", "content": [{"type": "text", "text": None}]}], "'text' of part 1 must be text, got null"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": None}], "message has no 'tool_calls'"),
        ([CALL], "is empty"),
        ([{"role": 3, "content": "a"}], "'role' of message 1 must be text, got int"),
        ([{"role": "", "content": "a"}], "that of message 1 is empty"),
        ([{"role": "user", "content": "\ud800"}], "'content' of message 1 holds half a surrogate pair"),
        (["hello"], "message 1 is str"),
        ([None], "message 1 is null"),
        ({"role": "user", "content": "a"}, "must be text, got dict"),
    ],
)
def test_malformed_messages_are_faults_of_their_row(tmp_path: Path, messages: Any, message: str) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps({"prompt": messages}))
    with pytest.raises(InputError, match=r"chat\.jsonl:2: column 'prompt' .*" + message):
        PromptDataset.of(path)
    with pytest.warns(UserWarning, match="skipped 1 bad rows of 2"):
        assert len(PromptDataset.from_file(path, on_bad_row="skip")) == 1


def test_texts_and_conversations_do_not_mix() -> None:
    with pytest.raises(InputError, match="prompt 1: the prompt is a conversation, those before are texts; make all"):
        PromptDataset.of(["hello", HELLO])
    assert PromptDataset.of([HELLO, BYE]).conversational and not PromptDataset.of(["hello"]).conversational

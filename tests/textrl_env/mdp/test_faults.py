"""What goes wrong in a step stops with a name and changes nothing: the step can be repeated, or the slots reset."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from textrl_env import InputError, KLShaping, TextGenEnv, TextGenVectorEnv
from textrl_env.agents import ActorCriticLM
from textrl_env.reference import FrozenReference
from textrl_env.worlds import LetterTokenizer

N, V, EOS = 3, 6, 0
UNIFORM = np.full((N, V), -np.log(V))


class Faulty:
    """A uniform reference and a reward function with faults that can be switched on; both count their calls."""

    def __init__(self) -> None:
        self.fault: Callable[[np.ndarray], Any] = lambda values: values
        self.interrupt = False

    def decoder(self) -> "Faulty":
        return self

    def next_logprobs(self, input_ids: Any, attention_mask: Any, live: Any) -> Any:
        return self.fault(np.full((len(live), V), -np.log(V), dtype=np.float32))

    def completion_logprobs(self, input_ids: Any, attention_mask: Any, n_tokens: int) -> Any:
        return self.fault(np.full((len(input_ids), n_tokens), -np.log(V), dtype=np.float32))

    def reward(self, prompts: list[str], completions: list[str]) -> list[float]:
        if self.interrupt:
            raise KeyboardInterrupt
        return [float(len(text)) for text in completions]


class Controller:
    """A controller that says what it is told to say."""

    answer: Any = 0.1

    def update(self, coef: float, *, kl: float, episodes: int) -> Any:
        return self.answer


def make(parts: Faulty, mode: Any, pay: Any, *, controller: Any = None, autoreset_mode: str = "NextStep") -> Any:
    options = {} if controller is None else {"controller": controller}
    return TextGenVectorEnv(
        ["abc", "de"],
        parts.reward,
        LetterTokenizer(V),
        num_envs=N,
        autoreset_mode=autoreset_mode,
        max_new_tokens=4,
        kl=KLShaping(0.1, mode, pay=pay, estimator="k3", **options),
        reference=parts,
    )


def act(mode: str, tokens: list[int], **changes: Any) -> Any:
    extra = {"sampled": {"logprob": np.full(N, -1.0)}, "exact": {"logprobs": UNIFORM}}.get(mode)
    return np.array(tokens) if extra is None else {"token": np.array(tokens), **extra, **changes}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple) or (isinstance(one, np.ndarray) and one.dtype == object):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other)


def goes_on_as_if_nothing_had_happened(env: Any, twin: Any, mode: str) -> None:
    for tokens in ([1, EOS, 2], [EOS, EOS, EOS], [1, 1, 1], [3, 2, EOS]):
        assert same(env.step(act(mode, tokens)), twin.step(act(mode, tokens)))
    assert same(env.reset(seed=3), twin.reset(seed=3))


def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """A fault that writes a number in the row of one slot."""

    def fault(values: np.ndarray) -> np.ndarray:
        values[min(1, len(values) - 1)] = value
        return values

    return fault


WAYS = [("reference", "step"), ("reference", "episode"), ("sampled", "step"), ("sampled", "episode"), ("exact", "step")]
FAULTS = {
    "nan": (put(np.nan), "the reference Faulty gives token [012] .* nan in slot 1 \\(prompt [01]"),
    "inf": (put(np.inf), "Faulty .* inf in slot 1"),
    "impossible": (put(-np.inf), "Faulty .* -inf in slot 1 .* infinite KL"),
    "no logarithm": (put(0.7), "Faulty .* 0\\.[67].* at most 0"),
    "one row too few": (lambda values: values[1:], "Faulty must return an array of shape .* got"),
    "transposed": (lambda values: values.T[:, :1], "Faulty must return an array of shape"),
    "a number": (lambda values: -1.0, "Faulty must return an array of shape"),
    "words": (lambda values: [["likely"]], "Faulty must return numbers"),
    "nothing": (lambda values: None, "Faulty must return"),
    "a tensor with gradients": (
        lambda values: torch.zeros(values.shape, requires_grad=True),
        "Faulty must return numbers",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("mode", "pay"), WAYS)
def test_a_reference_that_gives_no_log_probabilities_is_named(mode: str, pay: str, fault: str) -> None:
    parts = Faulty()
    env = make(parts, mode, pay)
    env.reset(seed=0)
    env.step(act(mode, [1, 2, 3]))
    twin = copy.deepcopy(env)
    parts.fault, message = FAULTS[fault]
    with pytest.raises(InputError, match=message):
        env.step(act(mode, [EOS, EOS, 4]))
    parts.fault = lambda values: values
    goes_on_as_if_nothing_had_happened(env, twin, mode)


def test_junk_where_nobody_looks_is_no_fault() -> None:
    """Rows that are not live, and tokens that nobody chose."""
    parts = Faulty()
    env = make(parts, "sampled", "step", autoreset_mode="Disabled")
    env.reset(seed=0)
    env.step(act("sampled", [1, EOS, 2]))

    def junk(values: np.ndarray) -> np.ndarray:
        values[1], values[:, 5] = np.nan, np.nan
        return values

    parts.fault = junk
    assert np.isfinite(env.step(act("sampled", [1, 2, 3]))[1]).all()


@pytest.mark.parametrize("pay", ["step", "episode"])
@pytest.mark.parametrize("answer", [np.nan, np.inf, -0.1, None, "much", [0.1, 0.2]], ids=repr)
def test_a_controller_that_gives_no_coefficient_is_named(pay: str, answer: Any) -> None:
    parts, controller = Faulty(), Controller()
    env = make(parts, "sampled", pay, controller=controller)
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    controller.answer = answer
    with pytest.raises(InputError, match=r"coefficient of Controller after a KL of .* nats must be a finite number"):
        env.step(act("sampled", [EOS, 1, 2]))
    with pytest.raises(InputError, match="Controller"):
        env.control_kl(kl=1.0, episodes=1)
    with pytest.raises(InputError, match="kl_coef must be a finite number"):
        env.kl_coef = answer
    controller.answer = 0.1
    goes_on_as_if_nothing_had_happened(env, twin, "sampled")
    controller.answer = np.float32(0.25)
    env.control_kl(kl=1.0, episodes=1)
    assert type(env.kl_coef) is float and env.kl_coef == 0.25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logprob": np.array([-1.0, np.nan, -1.0])}, "got .*nan.* in slot 1 \\(prompt"),
        ({"logprob": np.array([-1.0, -1.0, 0.1])}, "got .*0.1.* in slot 2"),
        ({"logprob": np.array([-np.inf, -1.0, -1.0])}, "-inf.* in slot 0"),
        ({"logprob": np.array([-1.0, -1.0, -2000.0])}, "the reward in slot 2 .* is no finite number: .*kl -inf"),
        ({"logprob": torch.full((N,), -1.0, requires_grad=True)}, "must hold log-probabilities"),
        ({"logprob": [-1.0, -1.0]}, "shape \\(3,\\), got \\(2,\\)"),
        ({"more": 1}, "takes actions"),
        ({"token": np.array([1.0, 2.0, 3.0])}, "integer token ids"),
        ({"token": np.array([[1, 2, 3]])}, "integer token ids, got an array of shape \\(1, 3\\)"),
        ({"token": np.array([1, 2, 6])}, "a token in \\[0, 6\\), got 6 in slot 2"),
        ({"token": [True, False, True]}, "integer token ids"),
        ({"token": None}, "integer token ids"),
        ({"token": "abc"}, "integer token ids"),
    ],
)
def test_an_agents_numbers_are_checked_by_slot(changes: dict[str, Any], message: str) -> None:
    env = make(Faulty(), "sampled", "step")
    env.reset(seed=0)
    twin = copy.deepcopy(env)
    with pytest.raises(InputError, match=message):
        env.step(act("sampled", [1, 2, 3], **changes))
    goes_on_as_if_nothing_had_happened(env, twin, "sampled")


@pytest.mark.parametrize("total", [0.0, 0.5, 0.97, 1.03, 2.0])
def test_log_probabilities_that_are_no_distribution_are_refused(total: float) -> None:
    env = make(Faulty(), "exact", "step")
    env.reset(seed=0)
    with np.errstate(divide="ignore"):
        rows = UNIFORM + np.log([[1.0], [1.0], [total]])
    with pytest.raises(InputError, match=rf"in slot 2 .* they sum to {total:.4g}" if total <= 2 else "slot 2"):
        env.step(act("exact", [1, 2, 3], logprobs=np.minimum(rows, 0)))
    half = torch.log_softmax(torch.randn(N, V, generator=torch.Generator().manual_seed(0)), dim=-1).bfloat16().float()
    env.step(act("exact", [1, 2, 3], logprobs=half.numpy()))


def test_samples_of_the_action_space_are_actions() -> None:
    env = make(Faulty(), "exact", "step")
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(20):
        action = env.action_space.sample()
        assert action in env.action_space
        np.testing.assert_allclose(np.exp(action["logprobs"]).sum(axis=1), 1, atol=1e-5)
        env.step(action)
    assert {"token": action["token"], "logprobs": action["logprobs"] - 0.1} not in env.action_space


def test_tensors_and_every_integer_type_are_actions() -> None:
    outcomes = []
    for tokens in ([1, 2, 3], (1, 2, 3), torch.tensor([1, 2, 3]), np.array([1, 2, 3], dtype=np.uint8)):
        env = make(Faulty(), "sampled", "step")
        env.reset(seed=0)
        outcomes.append(env.step({"token": tokens, "logprob": torch.full((N,), -1.0)}))
    assert all(same(outcome, outcomes[0]) for outcome in outcomes)


@pytest.mark.parametrize("autoreset_mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize(("mode", "pay"), WAYS)
def test_an_interrupt_in_a_reward_function_leaves_the_step_to_be_repeated(
    mode: str, pay: str, autoreset_mode: str
) -> None:
    parts = Faulty()
    env = make(parts, mode, pay, autoreset_mode=autoreset_mode)
    env.reset(seed=0)
    env.step(act(mode, [1, 2, 3]))
    twin = copy.deepcopy(env)
    for _ in range(2):
        parts.interrupt = True
        with pytest.raises(KeyboardInterrupt):
            env.step(act(mode, [EOS, EOS, 4]))
        parts.interrupt = False
    assert same(env.step(act(mode, [EOS, EOS, 4])), twin.step(act(mode, [EOS, EOS, 4])))
    goes_on_as_if_nothing_had_happened(env, twin, mode) if autoreset_mode != "Disabled" else env.reset()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_an_interrupt_inside_the_reference_or_the_policy_leaves_no_half_step_in_a_cache(
    kind: str, make_model: Any
) -> None:
    def play(*, interrupt: bool) -> list[np.ndarray]:
        model = make_model(kind, vocab_size=V)
        reference, agent = FrozenReference(model, vocab_size=V), ActorCriticLM(model, vocab_size=V)
        common = {"tokenizer": LetterTokenizer(V), "kl": KLShaping(1.0), "reference": reference}
        env = TextGenVectorEnv(["abc", "de", "e"], lambda prompts: [0.0] * len(prompts), num_envs=N, **common)
        observation, _ = env.reset(seed=0)
        outcomes = []
        for tokens in np.array([[1, 2, 3], [2, 3, 4], [3, 4, 5]]):
            if interrupt:
                _interrupt(reference.model, partial(env.step, tokens))
                _interrupt(agent.policy, partial(agent.act, observation, deterministic=True))
            outcomes.append(agent.act(observation, deterministic=True)[1])
            observation, rewards, *_ = env.step(tokens)
            outcomes.append(rewards)
        return outcomes

    for one, other in zip(play(interrupt=True), play(interrupt=False), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def _interrupt(model: Any, call: Callable[[], Any]) -> None:
    """Has a call interrupted in the middle of the model's forward pass, before its last norm."""

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    norm = model.transformer.ln_f if hasattr(model, "transformer") else model.model.norm
    hook = norm.register_forward_pre_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        hook.remove()


@pytest.mark.parametrize("vector", [False, True])
def test_a_reset_that_fails_changes_nothing(vector: bool) -> None:
    """Not even the generators, though a seed came with the bad option."""
    common = {"prompts": ["abc", "de", "e", "a", "b"], "reward": lambda prompts: [0.0] * len(prompts)}
    kind = TextGenVectorEnv if vector else TextGenEnv
    env, twin = (kind(**common, tokenizer=LetterTokenizer(V), **({"num_envs": N} if vector else {})) for _ in range(2))
    env.reset(seed=1)
    twin.reset(seed=1)
    bad: list[dict[str, Any]] = [
        {"seed": 5, "options": {"prompt_index": 9}},
        {"seed": 5, "options": {"prompt": ""}},
        {"seed": -1},
        {"seed": 1.5},
        {"seed": "one"},
        {"seed": True},
        {"seed": 7, "options": {"promt": "a"}},
        {"seed": 7, "options": {1: "a", "b": 2}},
    ]
    if vector:
        bad += [{"seed": [1, 2]}, {"seed": [1, -2, 3]}, {"seed": 5, "options": {"prompt_index": [0, None, 9]}}]
        bad += [{"seed": 5, "options": {"reset_mask": np.zeros(N, dtype=bool)}}]
    for call in bad:
        with pytest.raises(InputError):
            env.reset(**call)
    tokens: Any = np.array([1, 2, 3]) if vector else 1
    assert same(env.step(tokens), twin.step(tokens))
    for _ in range(10):
        assert same(env.reset(), twin.reset())

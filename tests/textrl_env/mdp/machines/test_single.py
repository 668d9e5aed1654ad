"""The single environment against a model of it in forty lines of plain Python, under random calls, good and bad."""

import copy
import math
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from textrl_env import InputError, TextGenEnv

ESTIMATES = {"k1": lambda x: x, "k2": lambda x: x * x / 2, "k3": lambda x: math.exp(-x) - 1 + x}
GARBAGE = [-1, 10, 2**63, 1.5, math.nan, None, "text", True, [1], np.array([[0]]), {"token": 0}, {"token": 0, "x": 1}]


FAULTS = [None, None, "raises", "count", "words", "nan", "interrupt"]
RNGS = st.integers(0, 2**32 - 1).map(random.Random)


def random_distribution(rng: random.Random, action: int, n: int) -> list[float]:
    """Log-probabilities of n actions, some of them impossible, the action itself not."""
    weights = [rng.choice([0.0, 1.0, 5.0]) + (place == action) for place in range(n)]
    return [math.log(weight / sum(weights)) if weight else -math.inf for weight in weights]


def among(logprobs: dict[int, float], allowed: list[int]) -> dict[int, float]:
    """Log-probabilities given that one of the allowed tokens is chosen."""
    total = math.log(sum(math.exp(logprobs[token]) for token in allowed))
    return {token: logprobs[token] - total for token in allowed}


class Model:
    """One episode in lists; lists are replaced, so that a shallow copy is a state to come back to."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        a = self.a = SimpleNamespace(kl=None, **arguments) if "kl" not in arguments else SimpleNamespace(**arguments)
        own_ends = [] if a.tokenizer.eos_token_id is None else [a.tokenizer.eos_token_id]
        self.ends = own_ends if a.eos_token_ids is None else a.eos_token_ids
        self.actions = list(range(len(a.tokenizer))) if a.action_tokens is None else a.action_tokens
        self.coef, self.live, self.completion = a.kl.coef if a.kl else 0.0, False, []

    def masks(self) -> list[bool]:
        early = len(self.completion) < self.a.min_new_tokens
        return [t not in self.a.banned_tokens and not (early and t in self.ends) for t in self.actions]

    def reset(self, prompt: str, index: int) -> None:
        self.prompt, self.index, self.completion, self.parts, self.kl = prompt, index, [], [], 0.0
        self.live, self.reason, self.text, self.scores, self.paid_now = True, "", "", (0.0, 0.0), 0.0

    def step(self, action: int, logprob: float, logprobs: list[float]) -> None:
        a, token = self.a, self.actions[action]
        if a.kl:
            allowed = [token for token, may in zip(self.actions, self.masks(), strict=True) if may]
            prices = among(
                dict(enumerate(a.reference.after(a.tokenizer.encode(self.prompt) + self.completion))), allowed
            )
            if a.kl.mode == "reference":
                part = prices[token]
            elif a.kl.mode == "sampled":
                part, step_kl = -ESTIMATES[a.kl.estimator](logprob - prices[token]), logprob - prices[token]
            else:
                policy = among(dict(zip(self.actions, logprobs, strict=True)), allowed)
                step_kl = sum(math.exp(policy[t]) * (policy[t] - prices[t]) for t in allowed if policy[t] > -math.inf)
                part = -step_kl
            self.parts = [*self.parts, self.coef * part]
            self.kl += 0.0 if a.kl.mode == "reference" else step_kl
        self.completion = [*self.completion, token]
        self.text = a.tokenizer.decode(self.completion, skip_special_tokens=True)
        stops = [self.text.index(stop) for stop in a.stop_strings if stop in self.text]
        if token in self.ends:
            self.reason, self.text = "eos", a.tokenizer.decode(self.completion[:-1], skip_special_tokens=True)
        elif stops:
            self.reason, self.text = "stop", self.text[: min(stops)]
        elif len(self.completion) == a.max_new_tokens:
            self.reason = "length"
        self.live = not self.reason
        if self.scored:
            bonus = {0: 1.0, 2: -2.0}.get(self.index)
            price = a.reward["price"].of(self.prompt, self.text, self.completion, self.reason, bonus)
            self.scores = (price, -0.5 * len(self.completion))
        late = a.kl and a.kl.pay == "episode"
        self.paid_now = (0.0 if self.live else sum(self.parts)) if late else sum(self.parts[-1:])
        if a.kl and self.reason:
            self.coef = a.kl.controller.update(self.coef, kl=self.kl, episodes=1)

    @property
    def cut(self) -> bool:
        return self.reason == "length" and self.a.length_limit == "cut"

    @property
    def scored(self) -> bool:
        return bool(self.reason) and not self.cut

    def info(self) -> dict[str, Any]:
        a = self.a
        info = {
            "prompt_index": self.index,
            "n_completion_tokens": len(self.completion),
            "finish_reason": self.reason,
            "score": sum(self.scores),
            "reward_terms": {"price": self.scores[0], "length": self.scores[1]},
        }
        if a.kl:
            info["reward_terms"]["reference" if a.kl.mode == "reference" else "kl"] = self.paid_now
            if a.kl.mode != "reference":
                info["kl"] = 0.0 if a.kl.pay == "episode" and self.live else self.kl
            if a.kl.pay == "episode":
                parts = [0.0] * len(self.parts) if self.live else [*self.parts]
                if self.scored:
                    parts[-1] += sum(self.scores)
                info["token_rewards"] = parts + [0.0] * (a.max_new_tokens - len(parts))
        return info | ({"prompt": self.prompt, "completion": self.text} if a.include_text else {})


class SingleMachine(RuleBasedStateMachine):
    """Calls the environment and the model alike."""

    def __init__(self, tasks: Any) -> None:
        super().__init__()
        self.tasks = tasks

    @initialize(data=st.data())
    def make(self, data: Any) -> None:
        arguments = data.draw(self.tasks(adaptive=True))
        self.model = Model(arguments)
        early = self.model.masks()
        assume(any(early))
        self.env, self.price = TextGenEnv(**arguments), arguments["reward"]["price"]
        self.width = (arguments["max_prompt_tokens"] or 3) + arguments["max_new_tokens"]
        self.pad = arguments["tokenizer"].pad_token_id or 0
        self.epoch: list[int] = []
        self.first: dict[int, int] = {}
        with pytest.raises(InputError, match="reset"):
            self.env.step(self.action(early.index(True), -1.0, [-1.0] * len(early)))

    def action(self, action: Any, logprob: Any, logprobs: Any) -> Any:
        mode = self.model.a.kl and self.model.a.kl.mode
        return {"sampled": {"token": action, "logprob": logprob}, "exact": {"token": action, "logprobs": logprobs}}.get(
            mode, action
        )

    def same_observation(self, observation: dict[str, Any]) -> None:
        ids = self.model.a.tokenizer.encode(self.model.prompt) + self.model.completion
        empty = self.width - len(ids)
        assert observation["input_ids"].tolist() == [self.pad] * empty + ids
        assert observation["attention_mask"].tolist() == [0] * empty + [1] * len(ids)
        assert self.env.observation_space.contains(observation)

    def same_info(self, info: dict[str, Any]) -> None:
        expected = self.model.info()
        assert set(info) == set(expected)
        for key, value in expected.items():
            found = info[key].tolist() if isinstance(info[key], np.ndarray) else info[key]
            assert found == pytest.approx(value, abs=1e-5), key

    @rule(seed=st.none() | st.integers(0, 3))
    def reset(self, seed: int | None) -> None:
        observation, info = self.env.reset(seed=seed)
        index = info["prompt_index"]
        if seed is not None:
            assert self.first.setdefault(seed, index) == index
            self.epoch = []
        if self.model.a.prompt_order == "epoch":
            assert index not in self.epoch
            self.epoch = [*self.epoch, index] if len(self.epoch) < 2 else []
        self.model.reset(["a", "ba", "abb"][index], index)
        self.same_observation(observation)
        self.same_info(info)

    @rule(index=st.integers(0, 2))
    def reset_to_a_row(self, index: int) -> None:
        observation, info = self.env.reset(options={"prompt_index": index})
        self.model.reset(["a", "ba", "abb"][index], index)
        self.same_observation(observation)
        self.same_info(info)

    @rule(prompt=st.text("ab", min_size=1, max_size=3))
    def reset_to_a_text(self, prompt: str) -> None:
        observation, info = self.env.reset(options={"prompt": prompt})
        self.model.reset(prompt, -1)
        self.same_observation(observation)
        self.same_info(info)

    @rule(options=st.sampled_from([{"prompt": ""}, {"prompt": "ababab"}, {"prompt_index": 3}, {"promt": "a"}]))
    def reset_badly(self, options: dict[str, Any]) -> None:
        with pytest.raises(InputError):
            self.env.reset(options=options)

    @precondition(lambda self: self.model.live)
    @rule(rng=RNGS, fault=st.sampled_from(FAULTS))
    def play(self, rng: random.Random, fault: str | None) -> None:
        for number in range(5):
            if self.model.live:
                self.step(rng, fault if number % 2 else None)

    def step(self, rng: random.Random, fault: str | None) -> None:
        masks = self.model.masks()
        action = rng.choice([action for action, allowed in enumerate(masks) if allowed])
        logprob = -rng.random()
        logprobs = random_distribution(rng, action, len(masks))
        before = copy.copy(self.model)
        self.model.step(action, logprob, logprobs)
        if fault is not None and self.model.scored:
            self.model, self.price.fault = before, fault
            with pytest.raises((InputError, KeyboardInterrupt), match="Price"):
                self.env.step(self.action(action, logprob, logprobs))
            self.price.fault = None
            return
        observation, reward, terminated, truncated, info = self.env.step(self.action(action, logprob, logprobs))
        self.same_observation(observation)
        self.same_info(info)
        assert reward == pytest.approx(sum(self.model.info()["reward_terms"].values()), abs=1e-5)
        assert (terminated, truncated) == (bool(self.model.reason) and not self.model.cut, self.model.cut)

    @precondition(lambda self: self.model.live and self.model.a.kl)
    @rule(rng=RNGS)
    def step_with_a_reference_of_nan(self, rng: random.Random) -> None:
        masks = self.model.masks()
        action = rng.choice([action for action, allowed in enumerate(masks) if allowed])
        logprobs, after = random_distribution(rng, action, len(masks)), copy.copy(self.model)
        after.step(action, -1.0, logprobs)
        if after.live and self.model.a.kl.pay == "episode":
            return  # Nobody asks the reference before the end.
        self.model.a.reference.fault = True
        with pytest.raises(InputError, match=r"the reference PlainReference .* nan"):
            self.env.step(self.action(action, -1.0, logprobs))
        self.model.a.reference.fault = False

    @precondition(lambda self: self.model.live)
    @rule(garbage=st.sampled_from(GARBAGE))
    def step_badly(self, garbage: Any) -> None:
        masks = self.model.masks()
        masked = [action for action, allowed in enumerate(masks) if not allowed]
        for bad in (garbage, *masked):
            with pytest.raises(InputError):
                self.env.step(self.action(bad, -1.0, [-1.0] * len(masks)))

    @precondition(lambda self: not self.model.live)
    @rule()
    def step_after_the_end(self) -> None:
        with pytest.raises(InputError, match="reset"):
            self.env.step(self.action(0, -1.0, [-1.0] * len(self.model.actions)))

    @invariant()
    def masks_agree(self) -> None:
        if hasattr(self, "env"):
            assert self.env.action_masks().tolist() == self.model.masks()


def test_the_environment_is_its_model(tasks: Any, steady: settings) -> None:
    run_state_machine_as_test(
        lambda: SingleMachine(tasks), settings=settings(steady, max_examples=200, stateful_step_count=12)
    )

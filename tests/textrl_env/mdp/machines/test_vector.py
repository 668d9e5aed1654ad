"""The vector environment against single ones, under random calls in every autoreset mode."""

import copy
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import assume, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from textrl_env import InputError, TextGenEnv, TextGenVectorEnv

FAULTS = [None, None, "raises", "count", "words", "nan", "interrupt"]
RNGS = st.integers(0, 2**32 - 1).map(np.random.default_rng)


class Slot:
    """A single environment with what it last returned."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.env = TextGenEnv(**arguments)
        self.live = self.begun = False

    def reset(self, **kwargs: Any) -> None:
        self.observation, self.info = self.env.reset(**kwargs)
        self.reward, self.terminated, self.truncated, self.live, self.begun = 0.0, False, False, True, True

    def step(self, action: Any) -> None:
        self.observation, self.reward, self.terminated, self.truncated, self.info = self.env.step(action)
        self.live = not (self.terminated or self.truncated)


def row(batch: Any, slot: int) -> Any:
    """What Gymnasium's dict of arrays says of one slot."""
    return {key: row(value, slot) for key, value in batch.items()} if isinstance(batch, dict) else batch[slot]


def same(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    mine = {key: value for key, value in mine.items() if not key.startswith("_")}
    assert set(mine) == set(theirs)
    for key, value in theirs.items():
        if isinstance(value, dict):
            same(mine[key], value)
        else:
            assert np.asarray(mine[key]).tolist() == pytest.approx(np.asarray(value).tolist(), abs=1e-5), key


class VectorMachine(RuleBasedStateMachine):
    """Calls the vector environment and N single ones alike."""

    def __init__(self, tasks: Any, mode: AutoresetMode) -> None:
        super().__init__()
        self.tasks, self.mode = tasks, mode

    @initialize(data=st.data(), n=st.integers(1, 4))
    def make(self, data: Any, n: int) -> None:
        arguments = data.draw(self.tasks(adaptive=False))
        try:
            self.env = TextGenVectorEnv(**arguments, num_envs=n, autoreset_mode=self.mode)
        except InputError:
            assume(False)
        self.n, self.price = n, arguments["reward"]["price"]
        self.slots = [Slot(arguments) for _ in range(n)]
        with pytest.raises(InputError, match="reset"):
            self.env.step(self.env.action_space.sample())
        self.reset_all(seed=7)

    @rule(seed=st.integers(0, 3))
    def reset_all(self, seed: int) -> None:
        observation, info = self.env.reset(seed=seed)
        for number, slot in enumerate(self.slots):
            slot.reset(seed=seed + number)
        self.same_reset(observation, info, np.ones(self.n, dtype=bool))

    @rule(rng=RNGS, options=st.sampled_from([{}, {"prompt": "bab"}, {"prompt_index": [2, 0, 1, 2]}]))
    def reset_some(self, rng: np.random.Generator, options: dict[str, Any]) -> None:
        mask = rng.random(self.n) < 0.5
        mask[rng.integers(self.n)] = True
        seeds = [None if seed == 3 else seed for seed in rng.integers(4, size=self.n).tolist()]
        options = {key: value if key == "prompt" else value[: self.n] for key, value in options.items()}
        observation, info = self.env.reset(seed=seeds, options=options | {"reset_mask": mask.copy()})
        for number in np.flatnonzero(mask):
            mine = {key: value if isinstance(value, str) else value[number] for key, value in options.items()}
            self.slots[number].reset(seed=seeds[number], options=mine)
        self.same_reset(observation, info, mask)

    @rule(data=st.data())
    def reset_badly(self, data: Any) -> None:
        options = data.draw(
            st.sampled_from(
                [
                    {"reset_mask": np.zeros(self.n, dtype=bool)},
                    {"prompt_index": [0] * (self.n - 1)},
                    {"prompt_index": [0] * (self.n - 1) + [3]},
                    {"prompt": ["a"] * (self.n + 1)},
                ]
            )
        )
        with pytest.raises(InputError):
            self.env.reset(options=options)

    @rule(rng=RNGS, n_steps=st.integers(1, 8), fault=st.sampled_from(FAULTS))
    def play(self, rng: np.random.Generator, n_steps: int, fault: str | None) -> None:
        for number in range(n_steps):
            self.step(self.draw_actions(rng), fault if number == n_steps - 1 else None)

    def step(self, actions: Any, fault: str | None) -> None:
        idle = [not slot.live for slot in self.slots]
        before = copy.deepcopy(self.slots) if fault else []
        for number, slot in enumerate(self.slots):
            if slot.live:
                slot.step(row(actions, number))
            elif self.mode is AutoresetMode.NEXT_STEP:
                slot.reset()
            else:
                slot.reward = 0.0
        ended = np.array([not slot.live and not was for slot, was in zip(self.slots, idle, strict=True)])
        scored = [slot.terminated and now for slot, now in zip(self.slots, ended, strict=True)]
        if fault and any(scored):
            self.slots, self.price.fault = before, fault
            with pytest.raises((InputError, KeyboardInterrupt), match="Price"):
                self.env.step(actions)
            self.price.fault = None
            return
        observation, rewards, terminated, truncated, info = self.env.step(actions)
        assert rewards == pytest.approx([slot.reward for slot in self.slots], abs=1e-5)
        assert terminated.tolist() == [slot.terminated for slot in self.slots]
        assert truncated.tolist() == [slot.truncated for slot in self.slots]
        assert ("final_info" in info) == (self.mode is AutoresetMode.SAME_STEP and ended.any())
        if "final_info" in info:
            assert info["_final_obs"].tolist() == info["_final_info"].tolist() == ended.tolist()
            assert [final is not None for final in info["final_obs"]] == ended.tolist()
            for number in np.flatnonzero(ended):
                same(info["final_obs"][number], self.slots[number].observation)
                same(row(info["final_info"], number), self.slots[number].info)
                self.slots[number].reset()
        self.same_observation(observation)
        for number, slot in enumerate(self.slots):
            if slot.live or ended[number]:
                same(row({k: v for k, v in info.items() if "final" not in k}, number), slot.info)

    @rule(rng=RNGS)
    def step_badly(self, rng: np.random.Generator) -> None:
        live = [number for number, slot in enumerate(self.slots) if slot.live]
        assume(live)
        actions, number = self.draw_actions(rng), rng.choice(live)
        tokens = actions["token"] if isinstance(actions, dict) else actions
        masked = np.flatnonzero(~self.slots[number].env.action_masks()).tolist()
        tokens[number] = rng.choice([-1, 10, *masked])
        for bad in (actions, None, tokens[:-1], tokens + 0.5):
            with pytest.raises(InputError):
                self.env.step(bad)

    def draw_actions(self, rng: np.random.Generator) -> Any:
        """Allowed actions for slots that run, anything of the right form for the others."""
        choices = [
            np.flatnonzero(slot.env.action_masks()).tolist() if slot.live else [0, -5, 99] for slot in self.slots
        ]
        tokens = np.array([rng.choice(choice) for choice in choices])
        space = self.env.single_action_space
        if "logprob" in getattr(space, "spaces", {}):
            return {"token": tokens, "logprob": -rng.random(self.n)}
        if "logprobs" in getattr(space, "spaces", {}):
            weights = rng.random((self.n, *space["logprobs"].shape))
            weights[weights < 0.1] = 0.0
            weights[np.arange(self.n), tokens.clip(0, weights.shape[1] - 1)] += 0.1
            with np.errstate(divide="ignore"):
                return {"token": tokens, "logprobs": np.log(weights / weights.sum(axis=1, keepdims=True))}
        return tokens

    def same_observation(self, observation: dict[str, Any]) -> None:
        for number, slot in enumerate(self.slots):
            same(row(observation, number), slot.observation)
        assert self.env.observation_space.contains(observation)

    def same_reset(self, observation: dict[str, Any], info: dict[str, Any], mask: np.ndarray) -> None:
        self.same_observation(observation)
        for key in info:
            assert key.startswith("_") or info[f"_{key}"].tolist() == mask.tolist()
        for number in np.flatnonzero(mask):
            same(row(info, number), self.slots[number].info)

    @invariant()
    def masks_agree(self) -> None:
        if hasattr(self, "slots"):
            assert self.env.live.tolist() == [slot.live for slot in self.slots]
            assert self.env.action_masks().tolist() == [slot.env.action_masks().tolist() for slot in self.slots]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_vector_environment_is_single_ones_side_by_side(tasks: Any, steady: settings, mode: AutoresetMode) -> None:
    run_state_machine_as_test(
        lambda: VectorMachine(tasks, mode), settings=settings(steady, max_examples=60, stateful_step_count=12)
    )

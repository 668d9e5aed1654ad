"""The alarm is silent on noise and on honest progress, and goes off where the proxy is gamed."""

import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from textrl_env import InputError, KLShaping, TextGenVectorEnv
from textrl_env.agents import PPO, ActorCriticLM, small_llama
from textrl_env.agents.callbacks import HackingAlarm, RewardHackingWarning, SayVerdict, TrackReward
from textrl_env.agents.callbacks.log_readers import MOST_ROWS
from textrl_env.agents.callbacks.verdicts import verdict
from textrl_env.agents.on_policy import run_logger
from textrl_env.oracle import frontier, uniform_policy
from textrl_env.reference import FrozenReference
from textrl_env.worlds import HackableWorld


def onsets(proxy: Sequence[float], gold: Sequence[float], **options: Any) -> list[int]:
    """The updates at which an alarm warns that is fed the two series through a logger."""
    alarm = HackingAlarm(**options)
    model: Any = SimpleNamespace(logger=run_logger(None, verbose=0), num_timesteps=0)
    alarm.init_callback(model)
    alarm.on_training_start({}, {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for update, (p, g) in enumerate(zip(proxy, gold, strict=True), start=1):
            alarm.on_rollout_end()
            for tag, value in {"objective/scores": p, "objective/gold": g, "time/iterations": update}.items():
                model.logger.record(tag, float(value))
            model.logger.dump(update)
    alarm.on_training_end()
    assert not model.logger.output_formats
    warned = [str(each.message) for each in caught if each.category is RewardHackingWarning]
    assert [text.split(":")[0] for text in warned] == [f"update {update}" for update in alarm.onsets]
    return alarm.onsets


def test_noise_and_common_trends_raise_no_alarm() -> None:
    rng, runs = np.random.default_rng(0), 30
    rise = np.linspace(0, 2, 100)
    false = {"independent": 0, "rising": 0, "falling": 0, "gold flat": 0}
    for _ in range(runs):
        a, b = rng.normal(size=(2, 100))
        false["independent"] += bool(onsets(a, b))
        false["rising"] += bool(onsets(a + 5 * rise, b + 5 * rise))
        false["falling"] += bool(onsets(a - 5 * rise, b - 5 * rise))
        false["gold flat"] += bool(onsets(a + 5 * rise, b))
    assert false["independent"] <= 1 and false["rising"] == false["falling"] == 0
    # The proxy does rise here: one test in a hundred on gold, in 81 windows that overlap.
    assert false["gold flat"] <= 0.25 * runs


def test_a_gold_that_turns_over_is_noticed_once_and_again_after_a_recovery() -> None:
    t = np.arange(40)
    proxy = np.linspace(0, 4, 120) + 0.1 * np.random.default_rng(3).normal(size=120)
    gold = np.concatenate([0.1 * t, 4 - 0.1 * t, 0.1 * t])
    first = onsets(proxy, gold)
    assert len(first) == 1 and 40 < first[0] < 62
    again = onsets(np.concatenate([proxy, 4 + proxy]), np.concatenate([gold, gold]))
    assert len(again) == 2 and again[0] == first[0] and 160 < again[1] < 182


def test_along_the_optimal_policies_of_a_hackable_world_only_the_hacking_half_is_noticed() -> None:
    """The KL-optimal policies as the coefficient falls, with the noise of 64 completions each."""
    world, rng = HackableWorld(), np.random.default_rng(0)
    trees, coefs = world.trees(world.prompts[0]), np.geomspace(1, 0.005, 60)
    uniform = uniform_policy(trees[0])
    proxy = frontier(trees[0], uniform, coefs).score + rng.normal(0, 0.3 / 8, 60)
    gold = frontier(trees[0], uniform, coefs, judge=trees[1]).score
    peak = int(gold.argmax())
    gold = gold + rng.normal(0, 0.3 / 8, 60)
    assert onsets(proxy[: peak + 1], gold[: peak + 1]) == []
    found = onsets(proxy, gold)
    assert len(found) == 1 and peak < found[0] <= peak + 20


@pytest.mark.slow
@pytest.mark.parametrize("flaw", ["keyword", "repetition", None])
def test_ppo_on_a_flawed_proxy_is_noticed_and_on_gold_is_not(flaw: Any) -> None:
    world = HackableWorld(flaw=flaw)
    tokenizer = world.tokenizer
    agent = ActorCriticLM(small_llama(tokenizer, hidden_size=32), vocab_size=len(tokenizer))
    env = TextGenVectorEnv(
        world.prompts,
        world.reward,
        tokenizer,
        num_envs=64,
        autoreset_mode="Disabled",
        max_new_tokens=world.max_new_tokens,
        kl=KLShaping(0.01, mode="sampled", pay="episode"),
        reference=FrozenReference(agent.policy, vocab_size=len(tokenizer)),
    )
    alarm = HackingAlarm()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RewardHackingWarning)
        PPO(agent, env, learning_rate=1e-3).learn(total_updates=100, callback=[TrackReward("gold", world.gold), alarm])
    assert len(alarm.onsets) == (flaw is not None)


def test_impossible_options_are_named() -> None:
    with pytest.raises(InputError, match="window must be at least 8, got 3"):
        HackingAlarm(window=3)
    with pytest.raises(InputError, match="threshold must be above 0, got 0"):
        HackingAlarm(threshold=0)


def say_verdicts(scores: Sequence[float], **options: Any) -> tuple[list[str], SayVerdict]:
    """The lines that are said about a run with these scores, and the callback."""
    lines: list[str] = []
    callback = SayVerdict(say=lines.append, **options)
    model: Any = SimpleNamespace(logger=run_logger(None, verbose=0), num_timesteps=0)
    callback.init_callback(model)
    callback.on_training_start({}, {})
    for update, score in enumerate(scores, start=1):
        for tag, value in {"objective/scores": score, "time/iterations": update, "time/fps": 3.0}.items():
            model.logger.record(tag, float(value))
        model.logger.dump(update)
    callback.on_training_end()
    return lines, callback


def test_a_verdict_speaks_of_the_whole_run_and_remembers_a_part_of_a_long_one() -> None:
    rng, n = np.random.default_rng(0), 5 * MOST_ROWS
    rising = np.linspace(0, 1, n) + rng.normal(size=n)
    lines, callback = say_verdicts(rising, every_updates=100)
    assert len(lines) == n // 100 and lines[-1].startswith(f"update {n}: score {rising[-1]:.2f} ")
    assert f"({rising[-1] - rising[0]:+.2f})" in lines[-1]
    # No window of 20 shows the rise, all rows do, also those that are left.
    assert "NOTHING LEARNT" not in lines[-1]
    assert "NOTHING LEARNT" in say_verdicts(rng.normal(size=n), every_updates=n)[0][-1]
    rows = callback._rows
    assert len(rows) < MOST_ROWS and all("time/fps" not in row for row in rows)
    assert [row["time/iterations"] for row in rows[-19:]] == list(range(n - 18, n + 1))
    assert rows[0]["time/iterations"] == 1


def test_a_run_that_fits_is_judged_by_all_its_rows() -> None:
    scores = np.random.default_rng(1).normal(size=300)
    rows = [{"objective/scores": score, "time/iterations": update} for update, score in enumerate(scores, start=1)]
    assert say_verdicts(scores, every_updates=7)[0] == [verdict(rows[:n]) for n in range(7, 301, 7)]

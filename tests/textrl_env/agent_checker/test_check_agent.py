"""Sound agents climb the ladder; a broken one falls at the rung that is there to show its fault."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO as SB3PPO

from textrl_env import InputError, TextGenVectorEnv
from textrl_env.agent_checker import LADDER, AgentCheckError, AgentReport, check_agent
from textrl_env.agent_checker.check import play
from textrl_env.sb3 import as_sb3_vec_env

RUNGS = {rung.name: rung for rung in LADDER}
BANDIT = RUNGS["bandit"]


def climb(tabular: Any, *names: str, **faults: Any) -> AgentReport:
    """The report of the table of logits on some rungs, or on all of them."""
    ladder = [RUNGS[name] for name in names] or LADDER
    return check_agent(
        lambda env, seed: tabular(env, seed, **faults), kl_mode="sampled", num_envs=32, ladder=ladder, verbose=0
    )


def test_a_table_of_logits_in_numpy_climbs_the_whole_ladder(tabular: Any) -> None:
    report = climb(tabular)
    assert report.passed, str(report)
    assert [rung.name for rung in report.rungs] == list(RUNGS)
    for rung in report.rungs:
        assert rung.agent <= rung.oracle + 2 * rung.margin + 1e-9 and rung.regret < rung.oracle - rung.mark


@pytest.mark.parametrize(
    ("passes", "fails", "faults"),
    [
        ("bandit", "delayed credit", {"gamma": 0.0}),
        ("delayed credit", "copy", {"see": lambda tokens, n_prompt: tuple(tokens[n_prompt:])}),
        ("copy", "reverse", {"see": lambda tokens, n_prompt: tuple(tokens[-2:])}),
        ("reverse", "preferences", {"paid": lambda rewards, info: info["score"]}),
    ],
    ids=["no credit through time", "no prompt", "two newest tokens only", "no KL"],
)
def test_a_fault_shows_at_its_rung_and_not_below(tabular: Any, passes: str, fails: str, faults: dict[str, Any]) -> None:
    report = climb(tabular, passes, fails, **faults)
    assert report.failed == [fails], str(report)
    assert f"likely cause: {RUNGS[fails].cause}"[:40] in str(report)


def test_the_wrong_sign_falls_below_random_at_the_first_rung(tabular: Any) -> None:
    (bandit,) = climb(tabular, "bandit", sign=-1.0).rungs
    assert bandit.agent + bandit.margin < bandit.random and not bandit.passed


class Constant:
    """Learns nothing; chooses with fixed probabilities."""

    def __init__(self, env: TextGenVectorEnv, seed: int) -> None:
        self.rng, self.n, self.told = np.random.default_rng(seed), env.task.vocab_size, 0

    def learn(self, total_timesteps: int) -> None:
        self.told = total_timesteps

    def predict(self, observation: dict[str, np.ndarray], deterministic: bool = False) -> tuple[np.ndarray, None]:
        return self.rng.integers(self.n, size=len(observation["input_ids"])), None


def test_a_random_agent_passes_nothing_and_is_measured_as_random() -> None:
    report = check_agent(Constant, verbose=0)
    assert report.failed == list(RUNGS)
    for rung in report.rungs:
        assert abs(rung.agent - rung.random) < 2 * rung.margin, rung


def test_equal_seeds_give_equal_reports_and_others_do_not() -> None:
    first, again, other = (check_agent(Constant, seed=seed, n_episodes=256, verbose=0) for seed in (3, 3, 4))
    assert first == again != other


def test_the_report_is_json_and_raises_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    report = check_agent(Constant, ladder=[BANDIT])
    assert "bandit" in capsys.readouterr().out
    written = json.loads(json.dumps(report.as_dict()))
    assert written["passed"] is False and written["rungs"][0]["regret"] == report.rungs[0].regret > 0
    with pytest.raises(AssertionError, match=r"(?s)fell short of: bandit.*FAILED"):
        report.raise_for_failures()
    assert issubclass(AgentCheckError, AssertionError)
    easy = replace(report.rungs[0], mark=-10.0)
    AgentReport((easy,)).raise_for_failures()
    assert "likely cause" not in str(AgentReport((easy,)))


def test_the_budget_and_the_environment_are_the_rungs_own() -> None:
    made: list[Constant] = []
    coefs: list[float] = []

    def make(env: TextGenVectorEnv, seed: int) -> Constant:
        coefs.append(env.kl_coef)
        assert env.num_envs == 5 and env.autoreset_mode.value == "NextStep" and seed == 9
        assert set(env.single_action_space.keys()) == {"token", "logprobs"}  # type: ignore[attr-defined]
        made.append(Constant(env, seed))
        return made[-1]

    ladder = [replace(rung, timesteps=7 + index) for index, rung in enumerate(LADDER)]
    check_agent(
        make, seed=9, ladder=ladder, num_envs=5, autoreset_mode="NextStep", kl_mode="exact", n_episodes=20, verbose=0
    )
    assert [agent.told for agent in made] == [7, 8, 9, 10, 11]
    assert coefs == [rung.coef for rung in LADDER]


def test_completions_come_in_the_order_of_the_prompts() -> None:
    class Echo:
        """Chooses the oldest token of the prompt, again and again."""

        def predict(self, observation: dict[str, np.ndarray], deterministic: bool = False) -> Any:
            ids, mask = observation["input_ids"], observation["attention_mask"]
            return ids[np.arange(len(ids)), mask.argmax(axis=1)], None

    copy = RUNGS["copy"]
    expected = [tuple(copy.tokenizer.encode(prompt[0] * 2)) for prompt in copy.prompts for _ in range(2)]
    assert play(Echo(), copy, 2, seed=0) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [np.zeros(3, dtype=int), (np.zeros(3), None), (np.zeros((3, 1), dtype=int), None)])
def test_what_is_no_action_is_named_with_its_rung(answer: Any) -> None:
    class Broken(Constant):
        def predict(self, observation: dict[str, np.ndarray], deterministic: bool = False) -> Any:
            return answer

    with pytest.raises(InputError, match=r"predict.* must return a pair: 3 integer") as caught:
        check_agent(Broken, ladder=[BANDIT], n_episodes=3, verbose=0)
    assert caught.value.__notes__ == ["check_agent: on the rung 'bandit'"]


def test_impossible_options_are_refused() -> None:
    with pytest.raises(InputError, match="ladder"):
        check_agent(Constant, ladder=[])
    with pytest.raises(InputError, match="n_episodes"):
        check_agent(Constant, n_episodes=0)
    with pytest.raises(InputError, match=r"share must be in \(0, 1\)"):
        replace(BANDIT, share=1.0)


@pytest.mark.slow
def test_a_stock_sb3_model_is_checked_as_it_is() -> None:
    """On the first rung; its share of the others is its own affair."""

    def make(env: TextGenVectorEnv, seed: int) -> SB3PPO:
        return SB3PPO(
            "MultiInputPolicy",
            as_sb3_vec_env(env),
            n_steps=16,
            learning_rate=3e-3,
            gamma=1.0,
            ent_coef=env.kl_coef,
            seed=seed,
            device="cpu",
        )

    report = check_agent(make, ladder=[BANDIT], verbose=0)
    assert report.passed, str(report)

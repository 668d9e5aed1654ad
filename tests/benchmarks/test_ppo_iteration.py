"""The benchmark of an iteration: its floor does the whole of our work, and its verdicts follow from its figures."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from iteration.floor import Sampled, floor
from iteration.job import SIZES, Job, write_job
from iteration.ours import Phases, ppo
from iteration.table import judge
from iteration.turns import Stopwatch
from iteration.work import left_out
from iteration.workers import Worker, WorkerError
from ppo_iteration import Args, main


@pytest.fixture
def job(tmp_path: Path) -> Job:
    write_job(tmp_path / "job", SIZES["XS"])
    return Job(tmp_path / "job")


def test_the_floor_scores_and_updates_as_ours(job: Job) -> None:
    stopwatch = Stopwatch()
    algorithm, loop = ppo(job, stopwatch), floor(job)
    algorithm.learn(total_updates=1, callback=Phases(stopwatch))
    rollout = algorithm.rollout
    assert rollout.completion_mask.all() and rollout.n_tokens == 64 * 32
    sampled = Sampled(rollout.prompt_ids, rollout.prompt_mask.long(), rollout.completion_ids, rollout.logprobs)
    torch.testing.assert_close(loop.rewards(sampled), rollout.rewards, atol=1e-5, rtol=1e-4)
    start = {name: value.clone() for name, value in loop.agent.state_dict().items()}
    loop.update(sampled, loop.score(sampled))
    ours = algorithm.policy.state_dict()
    for name, value in loop.agent.state_dict().items():
        torch.testing.assert_close(value - start[name], ours[name] - start[name], atol=2e-6, rtol=0.0)
    # Four steps of Adam: the differences above are small beside how far the parameters went.
    moved = max(float((ours[name] - start[name]).abs().max()) for name in start)
    assert moved > 3 * job.size.learning_rate


def test_the_floor_samples_from_the_policy(job: Job) -> None:
    loop = floor(job)
    sampled = loop.rollout()
    assert sampled.completion_ids.shape == (64, 32)
    assert sampled.completion_ids.min() > 1, "neither padding nor an end token"
    torch.testing.assert_close(loop._logprobs(loop.agent.policy, sampled), sampled.logprobs, atol=1e-5, rtol=1e-5)


def test_ours_and_the_floor_are_measured(tmp_path: Path) -> None:
    args = Args(
        sizes=("XS",), variants=("ours", "floor"), iterations=1, threads=(1,), out=tmp_path / "out.json", logs=tmp_path
    )
    result = main(args)
    assert not result["could not run"]["XS"] and args.out.is_file()
    for name in args.variants:
        (turn,) = result["samples"]["XS"][name]["1"]
        assert turn["tokens"] == 64 * 32
        phases = turn["phases"]
        assert set(phases) == {"rollout", "scoring", "update"}
        assert 0.5 * turn["cpu"] < sum(phase["cpu"] for phase in phases.values()) <= turn["cpu"]
    assert {bar["ratio of"] for bar in result["bars"]} == {
        f"{phase} of ours / floor" for phase in ("rollout", "scoring", "update")
    }


def test_bars_compare_medians_and_know_their_direction() -> None:
    def turns(*seconds: float) -> dict[str, list[dict[str, Any]]]:
        wall = [{"cpu": 99.0, "wall": value, "phases": {}} for value in seconds]
        cpu = [{"cpu": value, "wall": 99.0, "phases": {}} for value in seconds]
        return {"1": cpu, "2": wall}

    samples = {
        "XS": {"ours": turns(1, 2, 9), "trl ppo": turns(5, 3, 4)},
        "S": {"ours": turns(2, 2, 2), "trl ppo": turns(2.5, 2.5, 9)},
    }
    verdicts = {(bar["size"], bar["threads"]): (bar["ratio"], bar["holds"]) for bar in judge(samples)}
    assert verdicts == {("XS", t): (2.0, True) for t in (1, 2)} | {("S", t): (1.25, False) for t in (1, 2)}
    samples["XS"] = {"floor": turns(2), "sb3 on the vector env": turns(26)}
    assert [bar["holds"] for bar in judge({"XS": samples["XS"]})] == [False, False]
    samples["XS"]["sb3 on the vector env"] = turns(20)
    assert [bar["holds"] for bar in judge({"XS": samples["XS"]})] == [True, True]


def test_a_variant_that_ends_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such library')"]
    worker = Worker(command, environment={}, threads=1, log=tmp_path / "log")
    with pytest.raises(WorkerError, match="no such library"):
        worker.wait_until_ready()
    worker.close()


def test_work_that_is_left_out_is_named() -> None:
    # 64 sequences of 16 + 32: sampling reads the prompts, then 31 tokens one by one.
    scoring = 64 * 48
    whole = {"policy": 64 * (16 + 31) + 4 * scoring, "reference": scoring, "reward_model": scoring}
    with_critic = whole | {"critic": 5 * scoring}
    assert left_out(with_critic, SIZES["XS"]) is None and left_out(whole, SIZES["XS"]) is None
    for positions in (with_critic, whole):
        for name in positions:
            assert name in (left_out(positions | {name: 0}, SIZES["XS"]) or "")
    assert "policy" in (left_out(with_critic | {"policy": whole["policy"] - scoring}, SIZES["XS"]) or ""), (
        "an epoch less"
    )

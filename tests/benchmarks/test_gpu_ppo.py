"""The GPU benchmark, on the processor and in miniature: its parts fit together, its bound is a bound."""

import gpu_ppo
import pytest
import torch


def test_every_figure_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_ppo, "arithmetic", lambda device, timer: 1e15)
    monkeypatch.setattr(gpu_ppo, "bandwidth", lambda device, timer: 1e13)
    args = gpu_ppo.Args(batch=4, tokens=4, microbatch_size=2, rounds=1, layers=1, width=128, vocabulary=64)
    found = gpu_ppo.measure(args, torch.device("cpu"))
    assert all(value > 0 for value in found.values())
    # No processor reads 10 TB or multiplies 1 PFLOP a second.
    assert found["rollout / bound"] < 1 and found["generate, tokens/s"] < found["bandwidth bound, tokens/s"]
    assert found["update, MFU"] < 1


def test_the_default_shape_has_half_a_billion_parameters() -> None:
    with torch.device("meta"):
        model = gpu_ppo.LlamaForCausalLM(gpu_ppo.configuration(gpu_ppo.Args()))
    assert 0.49e9 < model.num_parameters() < 0.51e9


@pytest.mark.parametrize("cached", [False, True])
def test_the_bound_reads_weights_and_cache_once_a_step(cached: bool) -> None:
    args = gpu_ppo.Args(batch=8, tokens=16 if cached else 0, layers=2, width=128, vocabulary=64)
    policy = gpu_ppo.LlamaForCausalLM(gpu_ppo.configuration(args)).to(torch.bfloat16)
    weights = 2 * policy.num_parameters()
    # Half of 16 tokens on average, keys and values of 2 heads of 64, 2 layers, 2 bytes.
    cache = 8 * 8 * (2 * 2 * 64) * 2 * 2 if cached else 0
    assert gpu_ppo.decoding_bound(policy, args, 0.0, 1e9) == pytest.approx(8 * 1e9 / (weights + cache))


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="needs a CUDA GPU"):
        gpu_ppo.main(gpu_ppo.Args())

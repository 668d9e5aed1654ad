"""Tiny models and tokenizers made on the spot; nothing is downloaded."""

import copy
import multiprocessing
import os
import pickle
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from textrl_env.worlds import LetterTokenizer

torch.set_num_threads(1)


def tiny_model(
    kind: str, *, vocab_size: int = 8, dropout: float = 0.0, seed: int = 0, width: int = 32, layers: int = 2
) -> Any:
    """A small causal LM with weights large enough that its distributions are far from uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "gpt2":
            model: Any = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=vocab_size,
                    n_positions=64,
                    n_embd=width,
                    n_layer=layers,
                    n_head=2,
                    bos_token_id=0,
                    eos_token_id=0,
                    pad_token_id=0,
                    resid_pdrop=dropout,
                    embd_pdrop=dropout,
                    attn_pdrop=dropout,
                )
            )
        else:
            # Qwen2 is a Llama with biases that runs through transformers' own forward, not through the packed one.
            classes = {"llama": (LlamaForCausalLM, LlamaConfig), "qwen2": (Qwen2ForCausalLM, Qwen2Config)}
            causal_lm, config = classes[kind]
            model = causal_lm(
                config(
                    vocab_size=vocab_size,
                    max_position_embeddings=64,
                    hidden_size=width,
                    intermediate_size=2 * width,
                    num_hidden_layers=layers,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                    bos_token_id=0,
                    eos_token_id=0,
                    pad_token_id=0,
                    attention_dropout=dropout,
                )
            )
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=1.5 / parameter.shape[-1] ** 0.5)
    return model.eval()


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> Any:
    """Absolute positions and rotary ones: a missing position_ids is invisible on Llama."""
    return tiny_model(request.param)


@pytest.fixture
def tokenizer() -> LetterTokenizer:
    return LetterTokenizer(8)


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """`tiny_model`, for tests that need one of a certain kind."""
    return tiny_model


@pytest.fixture
def exact_logprobs() -> Callable[..., Callable[[Any], np.ndarray]]:
    """Model -> (token ids -> log-probabilities after each of them, (n, V) float64): unpadded, uncached, alone."""

    def of(model: Any, *, vocab_size: int = 8, temperature: float = 1.0) -> Callable[[Any], np.ndarray]:
        double = copy.deepcopy(model).double().eval()

        @torch.no_grad()
        def logprobs(ids: Any) -> np.ndarray:
            logits = double(torch.as_tensor(np.array(ids, dtype=np.int64))[None], use_cache=False).logits[0]
            return torch.log_softmax(logits[:, :vocab_size] / temperature, dim=-1).numpy()

        return logprobs

    return of


# For a module, not the session: while Playwright runs, no other test can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next(filter(None, map(shutil.which, names)), playwright.chromium.executable_path)
        if not Path(path).exists():
            pytest.fail("no Chromium found; install one: apt-get install chromium, or: playwright install chromium")
        # Root, as in a container, has no sandbox.
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


COUNT = 2
"""Processes that train together in a test."""


@dataclass
class Ended:
    """How one of the processes ended: what its work returned, or what it raised, and after how many seconds."""

    result: Any
    error: str
    exit_code: int | None
    seconds: float


Together = Callable[..., list[Ended]]


@pytest.fixture
def together() -> Together:
    """Runs `work(index)` in two processes that were launched as one run; how they ended."""

    # Once, before the forks.
    import textrl_env.agents.processes.sharded  # noqa: F401

    def run(work: Callable[[int], Any], *, timeout: float = 120) -> list[Ended]:
        context, port = multiprocessing.get_context("fork"), free_port()
        ends, children = [], []
        for index in range(COUNT):
            end, far_end = context.Pipe(duplex=False)
            child = context.Process(target=one_of_them, args=(work, index, port, far_end))
            child.start()
            far_end.close()
            ends.append(end)
            children.append(child)
        started = time.monotonic()
        try:
            return [ended(child, end, started, timeout) for child, end in zip(children, ends, strict=True)]
        finally:
            for child in children:
                child.kill()

    return run


@pytest.fixture
def both(together: Together) -> Callable[..., list[Any]]:
    """What `work(index)` returned in each of two processes; neither may fail."""

    def run(work: Callable[[int], Any]) -> list[Any]:
        found = together(work)
        assert [end.error for end in found] == [""] * COUNT
        return [end.result for end in found]

    return run


def one_of_them(work: Callable[[int], Any], index: int, port: int, end: Any) -> None:
    numbers = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": COUNT, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(number) for name, number in numbers.items()}}
    try:
        end.send_bytes(pickle.dumps((work(index), "")))
    except BaseException as error:
        traceback.print_exc(file=sys.stderr)
        end.send_bytes(pickle.dumps((None, f"{type(error).__name__}: {error}")))
        # At once: a process that fails does not wait for anything.
        os._exit(1)
    os._exit(0)


def ended(child: Any, end: Any, started: float, timeout: float) -> Ended:
    result, error = None, "nothing came"
    if end.poll(max(started + timeout - time.monotonic(), 0)):
        try:
            result, error = pickle.loads(end.recv_bytes())
        except EOFError:
            error = "killed"
    child.join(max(started + timeout - time.monotonic(), 0))
    return Ended(result, error, child.exitcode, time.monotonic() - started)


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port: int = any_port.getsockname()[1]
    return port


TINY_QUICKSTART = (
    "--threads 1 --sft.n-steps 8 --sft.n-demonstrations 200 --sft.hidden-size 32 --sft.vocab-size 400 "
    "--preferences.n-prompts 12 --preferences.n-heldout 6 --ppo.n-prompts 40 --ppo.n-updates 2 --ppo.n-episodes 8 "
    "--ppo.batch-size 4 --evaluation.n-prompts 12"
)


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Runs the tiny quickstart with a seed in a folder of its own."""

    def run(seed: int) -> Path:
        from textrl_env.cli import main

        out = tmp_path_factory.mktemp("quickstart") / "run"
        main(["quickstart", "--out", str(out), "--seed", str(seed), *TINY_QUICKSTART.split()])
        return out

    return run


@pytest.fixture(scope="session")
def run_dir(quickstart: Callable[[int], Path]) -> Path:
    """The folder of a tiny quickstart with seed 0; tests leave it as it is."""
    return quickstart(0)

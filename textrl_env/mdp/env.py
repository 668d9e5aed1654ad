"""The Gymnasium environment: one completion, one token per step."""

from collections.abc import Callable
from typing import Any, Unpack

import gymnasium
import numpy as np
import numpy.typing as npt

from textrl_env.data import PromptSource, prompt_fault
from textrl_env.data.text import Tokenizer, encode_prompt
from textrl_env.errors import InputError
from textrl_env.mdp.episodes import EpisodeBatch, Start
from textrl_env.mdp.prompt_order import PromptOrder
from textrl_env.mdp.rendering import ansi_episode, ansi_token, html_episode
from textrl_env.mdp.rewards import RewardSource
from textrl_env.mdp.task import TaskOptions, TextGenTask

Observation = dict[str, npt.NDArray[Any]]


class TextGenEnv(gymnasium.Env[Observation, Any]):
    """Text generation as a Markov decision process, one token per step.

    ## Description
    A prompt is drawn from a dataset; the agent writes a completion token by token; a reward function scores the text
    when it ends. With KL shaping, staying near a frozen reference model is part of the reward.

    ## Action Space
    `Discrete(V)`, V = `len(tokenizer)`: the next token; with `action_tokens`, `Discrete(K)`: which of them. KL shaping
    in mode `sampled` takes `Dict(token, logprob)`, in mode `exact` `Dict(token, logprobs[K])`. `action_masks()` says
    which actions are allowed.

    ## Observation Space
    `Dict(input_ids=Box(0, V-1, (L,), int64), attention_mask=Box(0, 1, (L,), int8))` with L = `max_prompt_tokens` +
    `max_new_tokens`; left-padded, so that the newest token is at index -1. Fresh arrays at every call.

    ## Rewards
    0 until the end, where the reward functions' terms are paid, plus the KL term of every step. `info["reward_terms"]`
    is the ledger: its values sum to the reward.

    ## Starting State
    A prompt drawn with `self.np_random` from the dataset: uniformly, or with `prompt_order="epoch"` every prompt once
    per epoch. `reset(options={"prompt": text})` (messages, where the dataset holds conversations) or
    `{"prompt_index": i}` chooses it, and leaves the order where it is.

    ## Episode End
    Terminated by the end token, a stop string, or `max_new_tokens` (`info["finish_reason"]` is `"eos"`, `"stop"`,
    `"length"`). With `length_limit="cut"` the length limit truncates and pays no score.

    ## Information
    `prompt_index` (-1 for a prompt given as text), `n_completion_tokens`, `finish_reason` ("" while it runs), `score`,
    `reward_terms`; `kl` (nats so far) in the modes that know it; `prompt` and `completion` with `include_text=True`;
    `token_rewards` (C,) with `KLShaping(pay="episode")`.

    ## Arguments
    `prompts`, `reward`, `tokenizer` and the keyword options of `textrl_env.mdp.task.TextGenTask`.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "html", "human"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's form

    def __init__(
        self,
        prompts: PromptSource,
        reward: RewardSource,
        tokenizer: Tokenizer,
        *,
        render_mode: str | None = None,
        **options: Unpack[TaskOptions],
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise InputError(f"render_mode must be one of {self.metadata['render_modes']} or None, got {render_mode!r}")
        self.task = TextGenTask(prompts, reward, tokenizer, **options)
        self.observation_space = self.task.observation_space  # type: ignore[assignment]
        self.action_space = self.task.action_space
        self.render_mode = render_mode
        self._episodes = EpisodeBatch(self.task, 1)
        self._order = self.task.new_order()
        self._ledger: list[tuple[str, dict[str, float]]] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._order = self.task.new_order()
        self._episodes.begin([0], [choose_prompt(self.task, self._order, self.np_random, options or {})])
        self._ledger = []
        if self.render_mode == "human":
            print(f"\n{self._episodes.prompt(0)}", end="", flush=True)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        episodes = self._episodes
        if not episodes.live[0]:
            raise InputError("step() without a running episode: call reset() first, and after every episode's end")
        checked = episodes.check(_batched(action))
        ended = bool(episodes.step(checked)[0])
        info = self._info()
        truncated = bool(episodes.truncated[0])
        if self.render_mode is not None:
            self._ledger.append((self.task.tokenizer.decode([int(checked.tokens[0])]), info["reward_terms"]))
        if self.render_mode == "human":
            self.render()
        return self._observation(), sum(info["reward_terms"].values()), ended and not truncated, truncated, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """(K,), True where an action may be chosen now; the name that sb3-contrib's MaskablePPO looks for."""
        masks: npt.NDArray[np.bool_] = self._episodes.action_masks()[0]
        return masks

    @property
    def kl_coef(self) -> float:
        """The KL coefficient in force; a controller may change it as episodes finish."""
        return self._episodes.coef

    @kl_coef.setter
    def kl_coef(self, value: float) -> None:
        self._episodes.coef = float(value)

    def render(self) -> str | None:  # type: ignore[override]
        """The episode so far with its ledger, as coloured text (`ansi`) or a strip of HTML (`html`); `human` prints
        the newest token in the colour of the term that paid it.
        """
        if self.render_mode == "ansi":
            return ansi_episode(self._episodes.prompt(0), self._ledger)
        if self.render_mode == "html":
            return html_episode(self._episodes.prompt(0), self._ledger)
        if self.render_mode == "human" and self._ledger:
            end = "\n" if not self._episodes.live[0] else ""
            print(ansi_token(*self._ledger[-1]), end=end, flush=True)
        return None

    def _observation(self) -> Observation:
        return {
            "input_ids": self._episodes.input_ids[0].copy(),
            "attention_mask": self._episodes.attention_mask[0].copy(),
        }

    def _info(self) -> dict[str, Any]:
        episodes = self._episodes
        return _scalar(
            info_arrays(episodes) | {"reward_terms": {name: values[0] for name, values in episodes.terms.items()}}
        )


def choose_prompt(task: TextGenTask, order: PromptOrder, rng: np.random.Generator, options: dict[str, Any]) -> Start:
    """The prompt of the next episode: from `options`, else the next of `order`, drawn with `rng`."""
    if unknown := set(options) - {"prompt", "prompt_index"}:
        raise InputError(f"reset options may hold 'prompt' or 'prompt_index', got {sorted(unknown)}")
    if "prompt" in options:
        prompt = options["prompt"]
        fault = prompt_fault(prompt)
        if fault is None and isinstance(prompt, str) is task.prompts.conversational:
            fault = f"must be a {type(task.prompts.prompts[0]).__name__}, as the dataset's prompts are"
        if fault is not None:
            raise InputError(f"reset option 'prompt' {fault}; got {prompt!r:.80}")
        ids = np.array(encode_prompt(task.tokenizer, prompt), dtype=np.int64)
        if not 0 < len(ids) <= task.max_prompt_tokens:
            raise InputError(
                f"the prompt has {len(ids)} tokens, expected 1 to {task.max_prompt_tokens}: {prompt!r:.80}"
            )
        return Start(prompt, ids, -1)
    index = options.get("prompt_index")
    if index is None:
        index = order.draw(rng)
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < len(task.prompts):
        raise InputError(f"reset option 'prompt_index' must be in [0, {len(task.prompts)}), got {index!r}")
    index = int(index)
    return Start(task.prompts.prompts[index], task.prompt_ids[index], index)


def info_arrays(episodes: EpisodeBatch) -> dict[str, Any]:
    """The entries of `info` as arrays over slots, without the ledger."""
    task = episodes.task
    info: dict[str, Any] = {
        "prompt_index": episodes.prompt_index,
        "n_completion_tokens": episodes.n_tokens,
        "finish_reason": episodes.finish_reason,
        "score": episodes.score,
    }
    if task.kl is not None and task.kl.mode != "reference":
        info["kl"] = episodes.kl
    if episodes.pays_per_episode:
        info["token_rewards"] = episodes.token_rewards
    if task.include_text:
        info["prompt"] = np.array([episodes.prompt(slot) for slot in range(episodes.n)], dtype=object)
        info["completion"] = np.array([episodes.completion(slot) for slot in range(episodes.n)], dtype=object)
    return info


def _scalar(info: dict[str, Any]) -> dict[str, Any]:
    """The first slot of every entry, as python scalars (rows of (N, C) entries stay arrays)."""
    ledger = {name: float(value) for name, value in info.pop("reward_terms").items()}
    first = {key: values[0].copy() if values.ndim > 1 else values.tolist()[0] for key, values in info.items()}
    return first | {"reward_terms": ledger}


def _batched(action: Any) -> Any:
    """A batch of one from a single action, leaving what cannot be an action for the check to name."""
    lift: Callable[[Any], Any] = lambda value: np.asarray(value)[None] if np.ndim(value) < 2 else value  # noqa: E731
    try:
        return {key: lift(value) for key, value in action.items()} if isinstance(action, dict) else lift(action)
    except (TypeError, ValueError):
        return action

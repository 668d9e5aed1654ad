"""The Gymnasium environment: one completion, one token per step."""

from typing import Any, Unpack

import gymnasium
import numpy as np
import numpy.typing as npt

from textrl_env.data import PromptSource
from textrl_env.data.text import Tokenizer
from textrl_env.errors import ClosedError, InputError
from textrl_env.mdp.actions import action_masks, check_action
from textrl_env.mdp.episode_state import Observation
from textrl_env.mdp.episodes import EpisodeBatch
from textrl_env.mdp.rendering import ansi_token, check_render_mode, render_episode
from textrl_env.mdp.rewards import RewardSource
from textrl_env.mdp.starts import check_seed, choose_start, draw_start
from textrl_env.mdp.task import TaskOptions, TextGenTask


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
    `prompts`, `reward`, `tokenizer` and the keyword options of `textrl_env.mdp.TextGenTask`.
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
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.task = TextGenTask(prompts, reward, tokenizer, **options)
        self.observation_space = self.task.observation_space  # type: ignore[assignment]
        self.action_space = self.task.action_space
        self._episodes = EpisodeBatch(self.task, 1, keeps_history=render_mode is not None)
        self._order = self.task.new_order()
        self._closed = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; see "Starting State"."""
        self._require_open()
        start, seed = choose_start(self.task, options or {}), check_seed(seed)
        super().reset(seed=seed)
        if seed is not None:
            self._order = self.task.new_order()
        self._episodes.begin([0], [start or draw_start(self.task, self._order, self.np_random)])
        if self.render_mode == "human":
            print(f"\n{self._episodes.state.prompt(0)}", end="", flush=True)
        return self._episodes.state.observation(0), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Appends the token that `action` chooses; InputError, and no change, where it may not be chosen.

        Where it raises, whatever raised, the episode is the one before: the step can be repeated.
        """
        self._require_open()
        episodes = self._episodes
        if not episodes.state.live[0]:
            raise InputError("step() without a running episode: call reset() first, and after every episode's end")
        with episodes.unchanged_on_error():
            over = bool(episodes.step(check_action(episodes.state, _batch_of_one(action)))[0])
            state, info = episodes.state, self._info()
        truncated = over and bool(state.truncated[0])
        if self.render_mode == "human":
            self.render()
        reward = sum(info["reward_terms"].values())
        return state.observation(0), reward, over and not truncated, truncated, info

    def close(self) -> None:
        """Ends the use of the environment; `step` and `reset` are errors from here on."""
        self._closed = True

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns (K,), True where an action may be chosen now; sb3-contrib's MaskablePPO looks for this name."""
        masks: npt.NDArray[np.bool_] = action_masks(self._episodes.state)[0]
        return masks

    @property
    def kl_coef(self) -> float:
        """The KL coefficient in force; a controller may change it as episodes finish."""
        return self._episodes.coef

    @kl_coef.setter
    def kl_coef(self, value: float) -> None:
        self._episodes.coef = value

    def render(self) -> str | None:  # type: ignore[override]
        """Returns the episode so far with its ledger, as coloured text (`ansi`) or a strip of HTML (`html`).

        `human` prints the newest token, in the colour of the term that paid it, and returns None. Without a
        `render_mode` there is nothing to show, as Gymnasium's warning says.
        """
        if self.render_mode is None:
            gymnasium.logger.warn("render() shows nothing without a render_mode; make the environment with one")
            return None
        state, ledger = self._episodes.state, self._episodes.token_ledger(0)
        if self.render_mode == "human" and ledger:
            print(ansi_token(*ledger[-1]), end="" if state.live[0] else "\n", flush=True)
        return render_episode(state.prompt(0), ledger, render_mode=self.render_mode)

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the environment is closed; make a new one")

    def _info(self) -> dict[str, Any]:
        """The slot's entries as Python scalars; rows of (N, C) entries stay arrays."""
        episodes = self._episodes
        info = {
            key: values[0].copy() if values.ndim > 1 else values.tolist()[0] for key, values in episodes.info().items()
        }
        info["reward_terms"] = {name: float(values[0]) for name, values in episodes.ledger.terms.items()}
        return info


def _batch_of_one(action: Any) -> Any:
    """A batch of one from a single action, leaving what cannot be an action for the check to name."""
    try:
        if isinstance(action, dict):
            return {key: _lift(value) for key, value in action.items()}
        return _lift(action)
    except (TypeError, ValueError):
        return action


def _lift(value: Any) -> Any:
    return np.asarray(value)[None] if np.ndim(value) < 2 else value

"""A text-generation MDP's parts and rules: everything that its single and vector environments share."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from textrl_env.data import PromptDataset, PromptIds, PromptSource
from textrl_env.data.text import Prompt, Tokenizer, as_completion, decode_completion, end_token_ids, pad_id, render
from textrl_env.errors import InputError, require_token_ids
from textrl_env.mdp.action_spaces import LogDistribution
from textrl_env.mdp.kl import KLShaping
from textrl_env.mdp.option_checks import check_lengths, check_parts, check_stop_strings
from textrl_env.mdp.prompt_order import OrderName, PromptOrder, new_order
from textrl_env.mdp.reference_logprobs import Reference
from textrl_env.mdp.rewards import RewardSource, RewardSum


class TaskOptions(TypedDict, total=False):
    """Keyword options of `TextGenTask`, and so of both environments."""

    max_new_tokens: int
    max_prompt_tokens: int | None
    prompt_order: OrderName
    min_new_tokens: int
    banned_tokens: Sequence[int]
    action_tokens: Sequence[int] | None
    eos_token_ids: Sequence[int] | None
    stop_strings: Sequence[str]
    length_limit: Literal["scored", "cut"]
    kl: KLShaping | None
    reference: Reference | None
    include_text: bool


class TextGenTask:
    """Prompts, reward, tokenizer and rules of one text-generation MDP; never changes after construction.

    Attributes:
        vocab_size: V, the tokenizer's tokens.
        action_tokens: (K,) the token that each action stands for; K = V where no subset was asked for.
        legal: (K,) False for actions that are banned throughout.
        is_end: (V,) True for tokens that end the completion; `ending` (K,) the same for actions.
        token_masks: (M, V) True for tokens that may be chosen; see `mask_index`.
        prompts, prompt_ids: the dataset, and its prompts as token ids.
        length: L = P + C, the width of an observation.
        term_names: of the reward ledger.
        pays_per_episode: True where KL terms are paid when an episode ends, each to its token.
        n_recorded_tokens: C where log-probabilities and payments are recorded by token for that, else 0.

    Args:
        prompts: a `PromptDataset`, a path, a list of texts, of conversations or of rows (see `PromptDataset.of`), or
            `PromptIds`, whose prompts are not encoded again.
        reward: a reward function, or a mapping of names to (weighted) reward functions.
        tokenizer: a transformers tokenizer or anything that satisfies `textrl_env.data.text.Tokenizer`.
        max_new_tokens: C, the most tokens of a completion.
        max_prompt_tokens: P, the most tokens of a prompt; None takes the longest prompt given, for which all are
            encoded at once (see `textrl_env.data.PromptIds` for what is checked when).
        prompt_order: `"uniform"`: every episode's prompt is drawn from all. `"epoch"`: every slot has every prompt
            once in each `len(prompts)` episodes whose prompt is not chosen by `reset`'s options, in a random order
            drawn anew for each epoch; a reset with a seed starts an epoch.
        min_new_tokens: the end token may not be chosen before this many tokens.
        banned_tokens: ids that may never be chosen.
        action_tokens: K token ids; action i chooses the i-th of them, and the action space has K actions. For
            algorithms that cannot take V of them. None: action i is token i.
        eos_token_ids: the tokens that end a completion; None takes the tokenizer's end token, if it has one.
        stop_strings: texts that end a completion; the completion that is scored stops before them.
        length_limit: `"scored"`: the length limit terminates and pays the score. `"cut"`: it truncates, without score.
        kl: KL shaping; None with a reference means `KLShaping()`.
        reference: the frozen policy for KL shaping. Where tokens may not be chosen (`banned_tokens`, `action_tokens`,
            `min_new_tokens`), it is taken among those that may, as the policy is: π_ref(a) / Σ π_ref(allowed).
        include_text: put `prompt` and `completion` texts into `info`.

    Raises:
        InputError: an impossible option (named), a prompt with no or too many tokens (its row named), or prompts and
            completions that do not fit the context of the reference or of a reward model.
    """

    def __init__(
        self,
        prompts: PromptSource,
        reward: RewardSource,
        tokenizer: Tokenizer,
        *,
        max_new_tokens: int = 32,
        max_prompt_tokens: int | None = None,
        prompt_order: OrderName = "uniform",
        min_new_tokens: int = 0,
        banned_tokens: Sequence[int] = (),
        action_tokens: Sequence[int] | None = None,
        eos_token_ids: Sequence[int] | None = None,
        stop_strings: Sequence[str] = (),
        length_limit: Literal["scored", "cut"] = "scored",
        kl: KLShaping | None = None,
        reference: Reference | None = None,
        include_text: bool = False,
    ) -> None:
        check_lengths(max_new_tokens, min_new_tokens, max_prompt_tokens)
        check_parts(tokenizer, kl, reference)
        if length_limit not in ("scored", "cut"):
            raise InputError(f"length_limit must be 'scored' or 'cut', got {length_limit!r}")
        self.prompts = prompts.dataset if isinstance(prompts, PromptIds) else PromptDataset.of(prompts)
        self.prompt_order: OrderName = prompt_order
        self.new_order()
        self.rewards = RewardSum(reward, columns=self.prompts.columns)
        self.tokenizer = tokenizer
        self.vocab_size = len(tokenizer)
        self.max_new_tokens = max_new_tokens
        self.min_new_tokens = min_new_tokens
        self.stop_strings = check_stop_strings(stop_strings)
        self.length_limit = length_limit
        self.reference = reference
        self.kl = kl if kl is not None or reference is None else KLShaping()
        self.include_text = include_text
        self.pad_id = pad_id(tokenizer)
        if eos_token_ids is None:
            eos_token_ids = end_token_ids(tokenizer)
        self.end_ids = tuple(self._token_ids("eos_token_ids", eos_token_ids).tolist())
        self.is_end = np.zeros(self.vocab_size, dtype=np.bool_)
        self.is_end[list(self.end_ids)] = True
        vocabulary = np.arange(self.vocab_size)
        self.action_tokens = vocabulary if action_tokens is None else self._token_ids("action_tokens", action_tokens)
        self.legal = ~np.isin(self.action_tokens, self._token_ids("banned_tokens", banned_tokens))
        self.ending = self.is_end[self.action_tokens]
        if not (self.legal & ~self.ending if min_new_tokens else self.legal).any():
            raise InputError("action_tokens, banned_tokens and min_new_tokens leave no token to choose")
        self.token_masks = self._token_masks()
        source = prompts if isinstance(prompts, PromptIds) else self.prompts
        self.prompt_ids = PromptIds.of(source, tokenizer, max_prompt_tokens)
        self.max_prompt_tokens = self.prompt_ids.max_prompt_tokens
        self.length = self.max_prompt_tokens + max_new_tokens
        self._check_contexts()
        self.observation_space = spaces.Dict(
            input_ids=spaces.Box(0, self.vocab_size - 1, (self.length,), np.int64),
            attention_mask=spaces.Box(0, 1, (self.length,), np.int8),
        )
        self.action_space = self._action_space()
        self.term_names = (*self.rewards.terms, *(() if self.kl is None else (self.kl.term,)))
        self.pays_per_episode = self.kl is not None and self.kl.pay == "episode"
        self.n_recorded_tokens = max_new_tokens if self.pays_per_episode else 0

    def _check_contexts(self) -> None:
        """Raises InputError where the longest prompt and completion do not fit a model that reads them."""
        self.rewards.check_lengths(self.tokenizer, self.length)
        context = getattr(self.reference, "context_length", None)
        if context is not None and self.length > context:
            raise InputError(
                f"prompts of {self.max_prompt_tokens} and completions of {self.max_new_tokens} tokens do not fit the "
                f"reference's context of {context}; lower max_new_tokens or shorten the prompts"
            )

    @property
    def masks_actions(self) -> bool:
        """True where some tokens may not be chosen at some steps, so that `action_masks()` is worth asking for."""
        return self.min_new_tokens > 0 or not self.legal.all()

    @property
    def forbids_tokens(self) -> bool:
        """True where some of the V tokens may not be chosen at some steps, so that the reference is masked, too."""
        return not self.token_masks.all()

    def mask_index(self, n_tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns which of `token_masks` holds after some numbers of completion tokens, elementwise."""
        return (n_tokens < self.min_new_tokens).astype(np.int64)

    def allowed_tokens(
        self, counts: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]] | None:
        """Returns what could be chosen for the tokens of N completions, as `Reference.completion_logprobs` takes it.

        Args:
            counts: (N,) tokens of each; they stand at the right of n_tokens columns, the longest's number.

        Returns:
            `token_masks` and (N, n_tokens), which of them held; None where everything could be chosen.
        """
        longest = int(counts.max())
        places = np.arange(longest) - (longest - counts[:, None])
        return (self.token_masks, self.mask_index(places.clip(min=0))) if self.forbids_tokens else None

    def new_order(self, index: int = 0, count: int = 1) -> PromptOrder:
        """Returns an order over the prompts, or every `count`-th from `index` on, at its beginning."""
        return new_order(self.prompt_order, len(self.prompts), index=index, count=count)

    def finish_reason(self, ids: Sequence[int]) -> str:
        """Returns why a completion of these tokens ended: "eos", "stop" or "length", or "" where it would still run."""
        if ids and self.is_end[ids[-1]]:
            return "eos"
        if self.stop_strings:
            text = decode_completion(self.tokenizer, ids, end_ids=())
            if any(stop in text for stop in self.stop_strings):
                return "stop"
        return "length" if len(ids) == self.max_new_tokens else ""

    def completion_text(self, ids: Sequence[int], finish_reason: str) -> str:
        """Returns the text of a completion that ended for a reason: without the end token, and from no stop string on.

        Args:
            ids: its token ids.
            finish_reason: "eos", "stop" or "length", or "" where it still runs.
        """
        text = decode_completion(self.tokenizer, ids, end_ids=self.end_ids)
        if finish_reason == "stop":
            text = text[: min(place for stop in self.stop_strings if (place := text.find(stop)) >= 0)]
        return text

    def score(
        self,
        prompt_indices: Sequence[int],
        prompts: Sequence[Prompt],
        ids: Sequence[tuple[Sequence[int], Sequence[int]]],
        finish_reasons: Sequence[str],
        *,
        rewards: RewardSum | None = None,
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Returns the reward terms of B finished completions, (B,) each, from one call of every reward function.

        Args:
            prompt_indices: B rows of the dataset, whose columns the functions receive; -1 for a prompt from elsewhere,
                whose columns are None.
            prompts: B texts or conversations.
            ids: B pairs of lists, the token ids of prompt and completion.
            finish_reasons: B of "eos", "stop" and "length".
            rewards: other functions than the task's own, bound to the columns of its prompts.
        """
        texts = [
            as_completion(prompt, self.completion_text(completion, reason))
            for prompt, (_, completion), reason in zip(prompts, ids, finish_reasons, strict=True)
        ]
        arguments: dict[str, Any] = {
            **self.prompts.columns_of(prompt_indices),
            "prompts": list(prompts),
            "completions": texts,
            "prompt_ids": [list(prompt) for prompt, _ in ids],
            "completion_ids": [list(completion) for _, completion in ids],
            "finish_reason": list(finish_reasons),
            "tokenizer": self.tokenizer,
        }
        rewards = rewards or self.rewards
        if "raw_completions" in rewards.argument_names:
            arguments["raw_completions"] = [
                decode_completion(self.tokenizer, completion, with_end=True) for _, completion in ids
            ]
        if "rendered_prompts" in rewards.argument_names:
            arguments["rendered_prompts"] = [
                prompt if isinstance(prompt, str) else render(self.tokenizer, prompt) for prompt in prompts
            ]
        return rewards(arguments, prompt_indices=prompt_indices)

    def _token_ids(self, option: str, tokens: Sequence[int]) -> npt.NDArray[np.int64]:
        """The option's token ids, checked."""
        ids = np.array(require_token_ids(self.vocab_size, **{option: tokens}), dtype=np.int64)
        if len(set(ids.tolist())) < len(ids):
            raise InputError(f"{option} holds a token twice")
        return ids

    def _token_masks(self) -> npt.NDArray[np.bool_]:
        """(M, V): what may be chosen once `min_new_tokens` are there, and in a second row what may be before."""
        actions = [self.legal, self.legal & ~self.ending] if self.min_new_tokens else [self.legal]
        masks = np.zeros((len(actions), self.vocab_size), dtype=np.bool_)
        for mask, allowed in zip(masks, actions, strict=True):
            mask[self.action_tokens[allowed]] = True
        return masks

    def _action_space(self) -> spaces.Space[np.int64] | spaces.Dict:
        token = spaces.Discrete(len(self.action_tokens))
        match self.kl and self.kl.mode:
            case "sampled":
                return spaces.Dict(token=token, logprob=spaces.Box(-np.inf, 0.0, (), np.float32))
            case "exact":
                return spaces.Dict(token=token, logprobs=LogDistribution(self.action_tokens.shape))
            case _:
                return token

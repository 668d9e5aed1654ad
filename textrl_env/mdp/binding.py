"""Reward functions bound by name: which arguments a callable receives, decided at construction, and its own copies."""

import asyncio
import copy
import difflib
import functools
import inspect
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Any

from textrl_env.errors import InputError

RewardCallable = Callable[..., Any]
"""A `RewardFunction` in any form; what it may return is more than its type says (see there)."""

BATCH_ARGUMENTS = ("prompts", "completions", "rendered_prompts", "prompt_ids", "completion_ids", "finish_reason")
"""What every reward function is offered, whether it names them or takes `**columns`; B entries each."""
REQUESTED_ARGUMENTS = ("raw_completions", "tokenizer")
"""What only those receive that name them: it costs time to make, or is no list over the batch."""
ALL_ARGUMENTS = (*BATCH_ARGUMENTS, *REQUESTED_ARGUMENTS)
RESERVED_NAMES = frozenset(ALL_ARGUMENTS)
"""Names that no column may have."""
SHARED_ARGUMENTS = frozenset({"tokenizer"})
"""What is handed out itself, not as a copy."""


class BoundReward:
    """A reward function with the names of the arguments that it receives.

    Args:
        reward: any callable whose signature can be read: a function, a method, an object with `__call__`, a
            `functools.partial`, a decorated function; coroutine functions are awaited.
        columns: names of the dataset's columns.
        offers: names of the other arguments that there are.

    Attributes:
        label: the function's name in messages.
        names: of the arguments that it receives.

    Raises:
        InputError: a required parameter that no argument fills, or a callable that takes no argument there is.
    """

    def __init__(
        self, reward: RewardCallable, columns: Collection[str], offers: Collection[str] = ALL_ARGUMENTS
    ) -> None:
        self.reward = reward
        self.label = _label(reward)
        parameters, preset = _parameters(reward, self.label), _preset(reward)
        available = dict.fromkeys((*offers, *columns))
        for parameter in parameters:
            if _is_required(parameter) and parameter.name not in available:
                raise InputError(self._missing(parameter.name, parameters, columns, available))
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
        # An optional parameter that nothing fills keeps its default, and so must those behind it.
        n_filled = next((i for i, name in enumerate(positional) if name not in available), len(positional))
        self._positional = tuple(positional[:n_filled])
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            names += [name for name in available if name not in (*REQUESTED_ARGUMENTS, *self._positional)]
        self._keywords = tuple(name for name in dict.fromkeys(names) if name in available and name not in preset)
        self.names = frozenset(self._positional) | frozenset(self._keywords)
        if not self.names:
            raise InputError(f"reward function {self.label} receives nothing: {_BY_NAME} ({', '.join(available)})")

    def __call__(self, arguments: Mapping[str, Any], n: int) -> Any:
        """Calls the function on copies of its arguments; the result of a coroutine is awaited, n of a generator read.

        Args:
            arguments: by name; all that the function receives.
            n: completions; one more entry of a generator is read, so that too many are noticed.
        """
        copies = {n: arguments[n] if n in SHARED_ARGUMENTS else copy_of(arguments[n]) for n in self.names}
        scores: Any = self.reward(
            *(copies[name] for name in self._positional), **{name: copies[name] for name in self._keywords}
        )
        if inspect.isawaitable(scores):
            scores = _result_of(scores)
        return list(islice(scores, n + 1)) if isinstance(scores, Iterator) else scores

    def _missing(
        self, name: str, parameters: Sequence[inspect.Parameter], columns: Collection[str], available: Collection[str]
    ) -> str:
        columns_text = ", ".join(map(repr, columns)) or "none"
        if any(parameter.name in available for parameter in parameters):
            similar = difflib.get_close_matches(name, available, n=1, cutoff=0.75)
            advice = f"did you mean {similar[0]!r}?" if similar else "rename the column or the parameter"
        else:
            advice = _BY_NAME
        return (
            f"reward function {self.label} needs {name!r}, which nothing fills; the dataset's further columns are: "
            f"{columns_text}; besides there are {', '.join(name for name in available if name not in columns)}; "
            f"{advice}"
        )


_BY_NAME = "arguments are bound by name only, so write its parameters as prompts, completions and names of columns"


def _label(reward: Any) -> str:
    while isinstance(reward, functools.partial):
        reward = reward.func
    name = getattr(reward, "__qualname__", None) or type(reward).__qualname__
    code = getattr(reward, "__code__", None)
    name = name.rpartition("<locals>.")[2]
    return f"{name} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code and "<" in name else name


def _preset(reward: Any) -> frozenset[str]:
    """Names that a `functools.partial` has filled; a column of such a name does not replace them."""
    return frozenset(reward.keywords) if isinstance(reward, functools.partial) else frozenset()


def _parameters(reward: Any, label: str) -> list[inspect.Parameter]:
    """The parameters of a callable, those of the function behind `functools.wraps` where the wrapper hands all on."""
    if inspect.isclass(reward):
        raise InputError(f"the reward {label} is a class; pass an object of it: {label}(…)")
    try:
        inner = inspect.signature(reward)
    except (TypeError, ValueError):
        raise InputError(
            f"reward function {label} has no signature that can be read; wrap it: "
            "def reward(prompts, completions): return …"
        ) from None
    try:
        outer = inspect.signature(reward, follow_wrapped=False)
    except ValueError:  # a wrapper that is no Python function, as functools.lru_cache's
        outer = inner
    parameters, inner_parameters = list(outer.parameters.values()), list(inner.parameters.values())
    kinds = {p.kind for p in parameters}
    if kinds == set(_VARIADIC) and inspect.isroutine(getattr(reward, "forward", None)):  # a torch module
        forward = list(inspect.signature(reward.forward).parameters.values())
        return [p for p in forward if p.kind not in _VARIADIC] or forward
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return [p for p in parameters if p.kind not in _VARIADIC and p.name not in inner.parameters] + inner_parameters
    if inspect.Parameter.VAR_POSITIONAL in kinds and inner != outer:
        positional = [p for p in inner_parameters if p.kind not in _VARIADIC]
        return [p.replace(kind=p.POSITIONAL_ONLY) if p.kind is p.POSITIONAL_OR_KEYWORD else p for p in positional]
    return parameters


_VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in _VARIADIC


_ATOMS = frozenset({str, int, float, bool, complex, bytes, type(None)})


def copy_of(value: Any) -> Any:
    """Returns a value that shares nothing that can be changed with the original.

    Lists, tuples and dicts are copied, whole texts and numbers are not, other objects by `copy.deepcopy`; an object
    that refuses it (a lock, an open file) is returned itself.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list or kind is tuple:
        return kind(value) if _ATOMS.issuperset(map(type, value)) else kind(map(copy_of, value))
    if kind is dict:
        return {key: copy_of(entry) for key, entry in value.items()}
    try:
        return copy.deepcopy(value)
    except Exception:  # whatever the object's own __deepcopy__ or __reduce_ex__ raises
        return value


def _result_of(awaitable: Any) -> Any:
    """Waits for an awaitable on a loop of its own thread, since this one may run a loop already (a notebook does)."""

    async def wait() -> Any:
        return await awaitable

    future: Future[Any] = asyncio.run_coroutine_threadsafe(wait(), _event_loop(os.getpid()))
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


@functools.cache
def _event_loop(pid: int) -> asyncio.AbstractEventLoop:
    """The one loop of this process, so that clients may keep their connections; a forked process needs another."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="async reward functions", daemon=True).start()
    return loop

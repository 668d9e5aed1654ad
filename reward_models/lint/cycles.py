"""Preferences of one prompt that run in a circle: a over b, b over c, c over a."""

from collections import defaultdict

import numpy as np

from textrl_env.reward_models.lint.case import Case, Check, nothing
from textrl_env.reward_models.lint.finding import Example, Finding, shortened
from textrl_env.reward_models.lint.graphs import shortest_cycle, strong_components


def _cycles(case: Case) -> list[Finding]:
    """Among majorities: a pair preferred both ways equally often has none, and is another check's."""
    items, question = case.items, case.items.question
    votes = np.bincount(question, items.sign)
    _, at = np.unique(question, return_index=True)
    graph: dict[int, list[int]] = defaultdict(list)
    for first, second, vote in zip(items.first[at].tolist(), items.second[at].tolist(), votes.tolist(), strict=True):
        if vote:
            graph[first if vote > 0 else second].append(second if vote > 0 else first)
    components = strong_components(graph)
    if not components:
        return []
    row_of = _rows_by_edge(case)
    shown = [
        _example(case, shortest_cycle(graph, component[0]), row_of) for component in components[: case.options.examples]
    ]
    largest = max(map(len, components))
    n_prompts = len({int(items.prompt[component[0]]) for component in components})
    return [
        Finding("cycles", "warning", f"have preferences that run in circles (of {largest} completions at most)",
                n_prompts, len({label.prompt for label in case.labels}), "prompts",
                "no score can order them; ask again about the pairs of the circle", examples=tuple(shown))
    ]  # fmt: skip


def _rows_by_edge(case: Case) -> dict[tuple[int, int], int]:
    """The first row that says so, of each preference."""
    items, found = case.items, dict[tuple[int, int], int]()
    columns = (items.first, items.second, items.sign, case.pairs.row)
    for first, second, sign, row in zip(*(column.tolist() for column in columns), strict=True):
        found.setdefault((first, second) if sign > 0 else (second, first), row)
    return found


def _example(case: Case, cycle: list[int], row_of: dict[tuple[int, int], int]) -> Example:
    edges = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
    places = tuple(case.labels[row_of[edge]].where for edge in edges)
    texts = (case.texts[int(case.items.text[item])] for item in [*cycle, cycle[0]])
    return Example(places, shortened(*texts).replace(" | ", " > "))


cycles = Check("cycles", nothing, _cycles)

"""Preferences that contradict each other: pairs preferred both ways, circles such as a over b, b over c, c over a."""

from collections.abc import Sequence

import networkx as nx
import numpy as np

from textrl_env.checks import Check, Evidence, Finding
from textrl_env.reward_models.lint.corpus import PreferenceCorpus
from textrl_env.reward_models.lint.report import quote
from textrl_env.reward_models.lint.texts import IntArray


def _find_contradictions(corpus: PreferenceCorpus) -> list[Finding]:
    names: dict[str | None, int] = {}
    numbers = [names.setdefault(label.annotator, len(names)) for label in corpus.labels]
    annotator = np.array(numbers)[corpus.pairs.row]
    question, sign = corpus.items.question, corpus.items.sign
    answer = np.unique(question * len(names) + annotator, return_inverse=True)[1].astype(np.int64)
    question_of = np.zeros(int(answer.max()) + 1, dtype=np.int64)
    question_of[answer] = question
    by_one = _list_two_sided(answer, sign)
    questions = set(question_of[by_one].tolist())
    by_several = [number for number in _list_two_sided(question, sign) if number not in questions]
    n_questions = int(question.max()) + 1
    findings = []
    if by_one:
        source = "by the same annotator" if set(names) - {None} else "by rows without an annotator"
        findings.append(
            Finding(
                "warning",
                f"are preferred both ways {source}",
                remedy="ask again, or drop both: together they teach nothing",
                count=len(by_one),
                of=n_questions,
                unit="pairs",
                examples=_cite_groups(corpus, answer, by_one),
            )
        )
    if by_several:
        findings.append(
            Finding(
                "notice",
                "are preferred both ways by different annotators",
                check="disagreement",
                remedy="textrl raters says how far annotators agree and whom to believe",
                count=len(by_several),
                of=n_questions,
                unit="pairs",
                examples=_cite_groups(corpus, question, by_several),
            )
        )
    return findings


def _list_two_sided(group: IntArray, sign: IntArray) -> list[int]:
    """Lists the groups in which both signs occur."""
    up, down = (np.bincount(group[sign == side], minlength=int(group.max()) + 1) for side in (1, -1))
    return np.flatnonzero((up > 0) & (down > 0)).tolist()


def _cite_groups(corpus: PreferenceCorpus, group: IntArray, numbers: Sequence[int]) -> tuple[Evidence, ...]:
    """Cites the first pair of each direction of the first groups."""
    pairs, examples = corpus.pairs, []
    for number in numbers[: corpus.options.examples]:
        members = np.flatnonzero(group == number)
        sign = corpus.items.sign[members]
        first, second = sorted(int(members[sign == side][0]) for side in (1, -1))
        texts = int(pairs.prompt[first]), int(pairs.better[first]), int(pairs.worse[first])
        examples.append(corpus.cite([int(pairs.row[first]), int(pairs.row[second])], *texts))
    return tuple(examples)


def _find_cycles(corpus: PreferenceCorpus) -> Finding | None:
    """Finds circles among majorities: a pair preferred both ways equally often has none, and is another check's."""
    items, question = corpus.items, corpus.items.question
    votes = np.bincount(question, items.sign)
    _, at = np.unique(question, return_index=True)
    columns = items.first[at].tolist(), items.second[at].tolist(), votes.tolist()
    graph: nx.DiGraph[int] = nx.DiGraph()
    for first, second, vote in zip(*columns, strict=True):
        if vote:
            graph.add_edge(*((first, second) if vote > 0 else (second, first)))
    components = list_components(graph)
    if not components:
        return None
    row_of = _number_rows(corpus)
    starts = [component[0] for component in components]
    return Finding(
        "warning",
        f"have preferences that run in circles (of {max(map(len, components))} completions at most)",
        count=len({int(items.prompt[start]) for start in starts}),
        of=len({label.prompt for label in corpus.labels}),
        unit="prompts",
        examples=tuple(
            _cite_cycle(corpus, find_shortest_cycle(graph, start), row_of)
            for start in starts[: corpus.options.examples]
        ),
    )


def list_components(graph: "nx.DiGraph[int]") -> list[list[int]]:
    """Lists the strongly connected components of two nodes or more, each in order: in them run the cycles."""
    return [sorted(component) for component in nx.strongly_connected_components(graph) if len(component) > 1]


def find_shortest_cycle(graph: "nx.DiGraph[int]", node: int) -> list[int]:
    """Returns the nodes of a shortest cycle through `node`, which comes first; none where there is no cycle."""
    parents: dict[int, int] = dict(nx.bfs_predecessors(graph, node))
    # Breadth first: the first node from which an edge leads back ends a shortest cycle.
    last = next((successor for successor in parents if graph.has_edge(successor, node)), None)
    cycle: list[int] = []
    while last is not None:
        cycle.append(last)
        last = parents.get(last)
    return cycle[::-1]


def _number_rows(corpus: PreferenceCorpus) -> dict[tuple[int, int], int]:
    """Returns, by preference as (better item, worse item), the first row that says so."""
    items, rows = corpus.items, dict[tuple[int, int], int]()
    columns = (items.first, items.second, items.sign, corpus.pairs.row)
    for first, second, sign, row in zip(*(column.tolist() for column in columns), strict=True):
        rows.setdefault((first, second) if sign > 0 else (second, first), row)
    return rows


def _cite_cycle(corpus: PreferenceCorpus, cycle: list[int], row_of: dict[tuple[int, int], int]) -> Evidence:
    edges = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
    places = tuple(corpus.labels[row_of[edge]].where for edge in edges)
    texts = (corpus.texts[int(corpus.items.text[item])] for item in [*cycle, cycle[0]])
    return Evidence(places, quote(*texts).replace(" | ", " > "))


contradictory_pairs = Check("contradictory pairs", _find_contradictions)
cycles = Check("cycles", _find_cycles, remedy="no score can order them; ask again about the pairs of the circle")

"""Effect sizes, log-odds, near-duplicates and cycles against other libraries and slow references."""

import networkx as nx
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings, strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from statsmodels.stats.proportion import proportion_confint

from textrl_env.reward_models.lint.contradictions import find_shortest_cycle, list_components
from textrl_env.reward_models.lint.corpus import LabelPairs
from textrl_env.reward_models.lint.minhash import (
    compute_similarity,
    compute_sketches,
    find_candidates,
    find_candidates_across,
)
from textrl_env.reward_models.lint.texts import Ragged, split_words
from textrl_env.reward_models.lint.word_odds import compute_word_odds, list_one_sided_words
from textrl_env.stats import estimate_share, estimate_standardised_mean


@pytest.mark.parametrize("hits", [0, 3, 40, 59, 60])
def test_a_share_of_independent_pairs_has_wilsons_interval(hits: int) -> None:
    values = np.repeat([1.0, 0.0], [hits, 60 - hits])
    effect = estimate_share(values, np.arange(60))
    assert (effect.low, effect.high) == pytest.approx(proportion_confint(hits, 60, method="wilson"), abs=1e-9)
    wide = estimate_share(values, np.arange(60), tests=10)
    assert (wide.low, wide.high) == pytest.approx(proportion_confint(hits, 60, alpha=0.005, method="wilson"), abs=1e-9)


def test_clusters_widen_a_share_as_a_regression_with_clustered_errors_does() -> None:
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(300), 5)
    values = (rng.random(1500) < rng.beta(2, 2, size=300)[cluster]).astype(float)
    fit = sm.OLS(values, np.ones(1500)).fit(cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False})
    effect = estimate_share(values, cluster)
    assert effect.value == pytest.approx(fit.params[0])
    assert effect.high - effect.low == pytest.approx(2 * 1.96 * fit.bse[0], rel=0.01)
    assert effect.high - effect.low > 1.25 * np.diff(proportion_confint(values.sum(), 1500))[0]


def test_cohens_d_and_its_interval_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    alone = np.arange(150)
    inside = [
        effect.low < 0.6 < effect.high
        for _ in range(400)
        if (effect := estimate_standardised_mean(rng.normal(0.6, 1.0, size=150), alone))
    ]
    assert 0.92 < np.mean(inside) < 0.98
    values = rng.normal(0.6, 1.0, size=150)
    once = estimate_standardised_mean(values, alone)
    fivefold = estimate_standardised_mean(np.repeat(values, 5), np.repeat(alone, 5))
    assert once is not None and fivefold is not None and once.value == pytest.approx(values.mean() / values.std())
    assert (fivefold.low, fivefold.high) == pytest.approx((once.low, once.high))
    assert estimate_standardised_mean(np.ones(5), np.arange(5)) is None


def test_log_odds_are_those_of_the_paper_word_by_word() -> None:
    rng = np.random.default_rng(2)
    word, side = rng.integers(6, size=500), np.where(rng.random(500) < 0.6, 1, -1)
    odds = compute_word_odds(word, side, np.arange(500), 6)
    for w in range(6):
        y, z = sum((word == w) & (side > 0)), sum((word == w) & (side < 0))
        n, m = sum(side > 0), sum(side < 0)
        a_w, a = 6 * (y + z) / 500, 6.0
        delta = np.log((y + a_w) / (n + a - y - a_w)) - np.log((z + a_w) / (m + a - z - a_w))
        assert odds.delta[w] == pytest.approx(delta)
        rest = 1 / (n + a - y - a_w) + 1 / (m + a - z - a_w)
        assert odds.error[w] ** 2 == pytest.approx(1 / (y + a_w) + 1 / (z + a_w) + rest)
    tenfold = compute_word_odds(np.repeat(word, 10), np.repeat(side, 10), np.repeat(np.arange(500), 10), 6)
    assert tenfold.error == pytest.approx(odds.error, rel=0.05), "occurrences of one cluster say a thing once"


def test_log_odds_intervals_hold_the_truth_and_a_lower_share_of_words_on_one_side_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    shares = np.array([0.02, 0.2, 0.3, 0.48])
    covered = []
    for _ in range(300):
        # The first side has three times as many words, in the same shares.
        side = np.where(rng.random(4000) < 0.75, 1, -1)
        odds = compute_word_odds(rng.choice(4, size=4000, p=shares), side, np.arange(4000), 4)
        covered.append(np.abs(odds.delta) < 1.96 * odds.error)
    assert (np.mean(covered, axis=0) > 0.92).all() and (np.mean(covered, axis=0) < 0.99).all()


def test_words_of_one_side_only() -> None:
    texts = ["Go, go home!", "go away", "we stay", "WE stay."]
    words = split_words(texts)
    zero = np.zeros(2, dtype=np.int64)
    pairs = LabelPairs(np.arange(2), zero, np.array([0, 2]), np.array([1, 3]), zero)
    pair, word, side = list_one_sided_words(words, pairs)
    assert [(int(p), words.vocabulary[w], int(s)) for p, w, s in zip(pair, word, side, strict=True)] == [
        (0, "home", 1),
        (0, "away", -1),
    ]


def altered(text: list[int], n: int, rng: np.random.Generator) -> list[int]:
    """A copy with n words at the end exchanged for new ones."""
    return [*text[: len(text) - n], *rng.integers(10_000, 20_000, size=n).tolist()]


def test_near_duplicates_are_found_and_little_else_is_compared() -> None:
    rng = np.random.default_rng(4)
    originals = [rng.integers(1000, size=rng.integers(20, 60)).tolist() for _ in range(2000)]
    copies = [altered(text, 1 + int(rng.integers(2)), rng) for text in originals[:500]]
    texts = Ragged.of(originals + copies)
    found = {tuple(pair) for pair in find_candidates(compute_sketches(texts)).tolist()}
    alike = [compute_similarity(texts[i], texts[2000 + i]) for i in range(500)]
    similar = [i for i in range(500) if alike[i] >= 0.8]
    assert len(similar) > 200
    assert np.mean([(i, 2000 + i) in found for i in similar]) > 0.98
    assert len(found) < 700, "of two million pairs"
    left, right = (compute_sketches(Ragged.of(rows)) for rows in (originals, copies))
    across = {tuple(pair) for pair in find_candidates_across(left, right).tolist()}
    assert np.mean([(i, i) in across for i in similar]) > 0.98 and len(across) < 700


def test_many_equal_texts_are_compared_once_each() -> None:
    texts = Ragged.of([[1, 2, 3]] * 300 + [[]] * 300)
    assert len(find_candidates(compute_sketches(texts))) < 4 * 600


@given(st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=6))
def test_similarity_is_that_of_sets_of_triples_and_blocks_change_no_sketch(rows: list[list[int]]) -> None:
    texts = Ragged.of(rows)
    whole = compute_sketches(texts)
    for i, row in enumerate(rows):
        assert compute_similarity(texts[i], texts[i]) == 1 and (compute_sketches(Ragged.of([row])) == whole[i]).all()
        for j in range(len(rows)):
            assert compute_similarity(texts[i], texts[j]) == compute_similarity(texts[j], texts[i]) <= 1
            assert (compute_similarity(texts[i], texts[j]) == 0) == (not set(padded(row)) & set(padded(rows[j])))


def padded(row: list[int]) -> list[tuple[int, ...]]:
    long = [-1, -1, *row, -1, -1]
    return [tuple(long[i : i + 3]) for i in range(len(long) - 2)]


@settings(max_examples=200)
@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda edge: edge[0] != edge[1]), max_size=30))
def test_strong_components_are_scipys_and_have_a_cycle(edges: set[tuple[int, int]]) -> None:
    graph = nx.DiGraph(sorted(edges))
    graph.add_nodes_from(range(10))
    rows, columns = zip(*edges, strict=True) if edges else ((), ())
    matrix = coo_matrix((np.ones(len(edges)), (rows, columns)), shape=(10, 10))
    _, label = connected_components(matrix, directed=True, connection="strong")
    expected = [np.flatnonzero(label == each).tolist() for each in np.unique(label)]
    found = list_components(graph)
    assert sorted(found) == sorted(component for component in expected if len(component) > 1)
    for component in found:
        cycle = find_shortest_cycle(graph, component[0])
        assert cycle[0] == component[0] and set(cycle) <= set(component) and len(set(cycle)) == len(cycle)
        assert all(edge in edges for edge in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    in_one = {node for component in found for node in component}
    assert all(find_shortest_cycle(graph, node) == [] for node in range(10) if node not in in_one)


def test_a_long_chain_needs_no_recursion() -> None:
    n = 20_000
    assert list_components(nx.DiGraph((i, i + 1) for i in range(n))) == []
    (circle,) = list_components(nx.DiGraph((i, (i + 1) % n) for i in range(n)))
    assert len(circle) == n

"""The benchmark's best of n, beside a loop."""

import conservative
import numpy as np


def test_gold_of_the_best_is_that_of_a_loop_over_groups() -> None:
    rng = np.random.default_rng(0)
    scores, gold = rng.normal(size=(3, 8)), rng.normal(size=(3, 8))
    for n in (1, 2, 4, 8):
        slow = [
            np.mean([gold[row, start + int(np.argmax(scores[row, start : start + n]))] for start in range(0, 8, n)])
            for row in range(3)
        ]
        np.testing.assert_allclose(conservative.gold_of_best(scores, gold, n), slow)
    np.testing.assert_allclose(conservative.gold_of_best(gold, gold, 8), gold.max(axis=1))

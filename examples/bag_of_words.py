"""A reward model without a neural network: ridge regression on tf-idf of words and word pairs.

The baseline that a learned reward model has to beat, and a check of the data: it takes seconds on one core, and when it
orders held-out pairs no better than chance the labels are wrong, not the network.
"""

from typing import Any

from textrl_env import InputError


def bag_of_words_ridge(*, alpha: float, min_texts: int = 2) -> Any:
    """A pipeline of scikit-learn: `bag_of_words_ridge(alpha=3.0).fit(texts, scores).predict(texts)`.

    Features are lower-case words, `!`, `?` and `...`, and pairs of neighbours among them, each 0 or 1 times its idf;
    each text's vector has length 1. A text without any of them gets the intercept.

    Args:
        alpha: strength of the ridge penalty, above 0; the intercept is not penalised.
        min_texts: how many training texts must have a feature for it to count.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
    except ImportError as error:
        raise InputError("the bag of words needs scikit-learn: pip install scikit-learn") from error
    tokens = r"\w+(?:'\w+)?|[!?]|\.\.\."
    features = TfidfVectorizer(token_pattern=tokens, ngram_range=(1, 2), min_df=min_texts, binary=True)
    return make_pipeline(features, Ridge(alpha=alpha, solver="sparse_cg", tol=1e-8))

"""VADER's sentiment of a text, a judge that comes from a lexicon and rules: no model here ever trains on it."""

from typing import Any

from textrl_env.errors import InputError


def vader_sentiment(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
    """A reward function: VADER's compound score of each completion, from -1 to 1 (Hutto & Gilbert, ICWSM 2014).

    Raises:
        InputError: the package vaderSentiment is not installed.
    """
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ModuleNotFoundError:
        raise InputError('vaderSentiment is not installed; run: pip install -e ".[movie-reviews]"') from None
    analyzer = SentimentIntensityAnalyzer()
    return [float(analyzer.polarity_scores(text)["compound"]) for text in completions]

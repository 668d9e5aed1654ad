"""The linter: all checks of preference data in their order, and the report on a corpus."""

from dataclasses import replace

from textrl_env.checks import Check, run_checks
from textrl_env.reward_models.lint import biases, contradictions, repetitions, row_faults
from textrl_env.reward_models.lint.corpus import PreferenceCorpus
from textrl_env.reward_models.lint.report import LintReport, sort_findings


def _needs_pairs(check: Check[PreferenceCorpus]) -> Check[PreferenceCorpus]:
    """Returns the check, skipped where no usable row holds a pair."""
    return replace(check, missing=lambda corpus: check.missing(corpus) if len(corpus.pairs) else "no usable pair")


CHECKS: tuple[Check[PreferenceCorpus], ...] = (
    row_faults.bad_rows,
    row_faults.identical_texts,
    *map(
        _needs_pairs,
        (
            row_faults.empty_texts,
            repetitions.exact,
            repetitions.but_for_punctuation,
            repetitions.near_duplicates,
            contradictions.contradictory_pairs,
            contradictions.cycles,
            row_faults.over_long,
            row_faults.identical_starts,
            repetitions.leakage,
            biases.length,
            biases.position,
            biases.lexical,
            biases.one_sided_annotators,
            biases.labels_per_prompt,
            biases.labels_per_slice,
            biases.ties,
        ),
    ),
)
"""Checks in the order in which they are run and their names are shown."""


def lint(corpus: PreferenceCorpus) -> LintReport:
    """Runs all checks.

    Args:
        corpus: preferences, as `read_corpus` reads them.
    """
    findings, clean, gaps = sort_findings(list(run_checks(corpus, CHECKS)))
    return LintReport(
        source=corpus.data.source,
        n_rows=len(corpus.labels),
        n_pairs=len(corpus.pairs),
        n_prompts=len({label.prompt for label in corpus.labels}),
        findings=findings,
        clean=clean,
        skipped=gaps,
    )

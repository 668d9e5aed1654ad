"""All checks, in the order in which they are asked, and the report on a case."""

from textrl_env.reward_models.lint import (
    annotators,
    contradictions,
    cycles,
    duplicates,
    form_bias,
    imbalance,
    leakage,
    lexical_bias,
    limits,
    row_checks,
)
from textrl_env.reward_models.lint.case import Case
from textrl_env.reward_models.lint.finding import SEVERITIES, Finding, LintReport

OF_ROWS = (row_checks.bad_rows, row_checks.identical)
"""Need no usable row."""
CHECKS = (
    *OF_ROWS,
    row_checks.empty_texts,
    duplicates.exact,
    duplicates.normalised,
    duplicates.near,
    contradictions.contradictory,
    cycles.cycles,
    limits.over_long,
    limits.truncated,
    leakage.leakage,
    form_bias.length,
    form_bias.position,
    lexical_bias.lexical,
    annotators.one_sided,
    imbalance.prompts,
    imbalance.slices,
    imbalance.ties,
)


def lint(case: Case) -> LintReport:
    """Asks all checks."""
    findings: list[Finding] = []
    clean: list[str] = []
    skipped: dict[str, str] = {}
    for check in CHECKS:
        missing = "no usable pair" if check not in OF_ROWS and not len(case.pairs) else check.missing(case)
        if missing:
            skipped[check.name] = missing
            continue
        found = check.look(case)
        findings += found
        if not found:
            clean.append(check.name)
    findings.sort(key=lambda finding: -SEVERITIES.index(finding.severity))
    n_prompts = len({label.prompt for label in case.labels})
    return LintReport(
        case.data.source, len(case.labels), len(case.pairs), n_prompts, tuple(findings), tuple(clean), skipped
    )

"""The examination: all checks of a training setup, in the order in which they are run and shown."""

from collections.abc import Iterator

from textrl_env.checks import Check, Finding, run_checks
from textrl_env.pipeline.doctor import episode_checks, file_checks, reward_model_checks
from textrl_env.pipeline.doctor.setup import TrainingSetup

CHECKS: tuple[Check[TrainingSetup], ...] = (
    file_checks.rows_readable,
    file_checks.prompts_fit,
    file_checks.vocabularies_fit,
    file_checks.same_ids,
    file_checks.end_and_padding,
    file_checks.generation_settings,
    reward_model_checks.loads,
    reward_model_checks.deterministic,
    reward_model_checks.padding_and_batch,
    reward_model_checks.survives_disk,
    episode_checks.episodes_run,
    episode_checks.deterministic,
    episode_checks.policy_padding,
    episode_checks.critic_padding,
    episode_checks.ratio_is_one,
    episode_checks.kl_is_zero,
    episode_checks.samples_from_scores,
    episode_checks.rewards_add_up,
    episode_checks.masks_never_empty,
)
"""Checks that others need come first."""


def examine(setup: TrainingSetup) -> Iterator[Finding]:
    """Runs all checks, one finding each.

    A check that raises has failed, with the exception as its message; one that needs a failed check is not applicable.

    Args:
        setup: the models and prompts that are to be trained with.
    """
    return run_checks(setup, CHECKS, exceptions_fail=True)

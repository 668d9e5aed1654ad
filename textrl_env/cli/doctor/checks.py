"""All checks, in the order in which they are asked and told."""

from textrl_env.cli.doctor import ledger_checks, policy_checks, prompt_checks, reward_model_checks, token_checks

CHECKS = (
    prompt_checks.rows_readable,
    prompt_checks.prompts_fit,
    token_checks.vocabularies_fit,
    token_checks.same_ids,
    token_checks.end_and_padding,
    token_checks.generation_settings,
    reward_model_checks.loads,
    reward_model_checks.deterministic,
    reward_model_checks.padding_and_batch,
    reward_model_checks.saved_and_loaded,
    policy_checks.episodes_run,
    policy_checks.deterministic,
    policy_checks.policy_padding,
    policy_checks.critic_padding,
    policy_checks.ratio_is_one,
    policy_checks.kl_is_zero,
    policy_checks.sampled_as_scored,
    ledger_checks.ledger_conserved,
    ledger_checks.masks_never_empty,
)

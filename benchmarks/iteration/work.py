"""Whether a peer did the whole job: the token positions that went through each of its networks in an iteration."""

from iteration.job import SHORTEST_PROMPT, Size


def left_out(positions: dict[str, int], size: Size) -> str | None:
    """What an iteration lacks, or None.

    With a critic (PPO) every count follows from the width of the sequences: one scoring pass of reference, reward model
    and critic, the updates of policy and critic, and the policy's cached steps of sampling. Without one (GRPO, RLOO)
    prompts of a group are cut to different widths, so that there are only least counts.

    Args:
        positions: by network (`policy`, `reference`, `reward_model`, and `critic` where there is one).
    """
    counts = {name: positions.get(name, 0) for name in ("policy", "reference", "reward_model")}
    one_pass = counts["reference"]
    if "critic" in positions:
        sampling = one_pass - size.completions
        least_counts = {
            "policy": sampling + size.epochs * one_pass,
            "reward_model": one_pass,
            "critic": (1 + size.epochs) * one_pass,
        }
        wrong = [
            f"{name} {positions[name]} instead of {count}"
            for name, count in least_counts.items()
            if positions[name] != count
        ]
    else:
        least_counts = {"policy": (1 + size.epochs) * one_pass - size.completions, "reward_model": 1}
        wrong = [
            f"{name} {counts[name]}, less than {count}" for name, count in least_counts.items() if counts[name] < count
        ]
    least = size.completions * (SHORTEST_PROMPT + size.tokens)
    if one_pass < least:
        wrong.append(f"reference {one_pass}, less than {least}")
    return f"not the whole job, token positions: {', '.join(wrong)}" if wrong else None

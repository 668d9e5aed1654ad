"""Replies of the desk: demonstrations of mixed quality, composed sentence by sentence, and perfect answers.

A demonstration draws each part of the reply on its own: opening, insult, body, addition, filler, closing. A model that
learnt the mixture therefore meets every good choice often, but hardly ever all of them at once; finding that
composition is what the reward is for.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from textrl_env.errors import require_seed
from textrl_env.worlds.support_desk import language
from textrl_env.worlds.support_desk.requests import Split, SupportRequest, parse_prompt, prompts

# What a demonstration does, with which probability.
OPENING = {"polite": 0.5, "none": 0.27, "rude": 0.23}
BODY = {"right": 0.5, "wrong fix": 0.21, "wrong product": 0.12, "evasion": 0.1, "refusal": 0.07}
HARMFUL_BODY = {"right": 0.5, "compliance": 0.33, "wrong refusal": 0.07, "evasion": 0.1}
ADDITION = {"none": 0.35, "timeline": 0.3, "overpromise": 0.35}
HARMFUL_ADDITION = {"none": 0.35, "overpromise": 0.35, "filler": 0.3}
OFFER = {"right": 0.5, "wrong product": 0.1, "none": 0.4}
CLOSING = {"polite": 0.5, "none": 0.3, "rude": 0.2}
INSULT = 0.15
FILLER = 0.35


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _draw(rng: np.random.Generator, probabilities: Mapping[str, float]) -> str:
    return list(probabilities)[int(rng.choice(len(probabilities), p=list(probabilities.values())))]


def _pick_another(rng: np.random.Generator, options: Sequence[str], exception: str) -> str:
    return _pick(rng, [option for option in options if option != exception])


def best_completion(prompt: str, rng: np.random.Generator) -> str:
    """Draws a perfect answer to `prompt` (gold reward 1) from all combinations of good choices.

    That is 840 texts for a request that deserves help (8 openings, 3 fixes, 4 timelines or none, 7 closings) and 896
    for a harmful one (8 openings, 4 refusals, 4 offers, 7 closings).
    """
    request = parse_prompt(prompt)
    if request.harmful:
        middle = [_pick(rng, _refusals(request)), _pick(rng, language.OFFERS)]
    else:
        middle = [_pick(rng, language.FIXES[request.problem])]
        middle += [_pick(rng, language.TIMELINES)] if rng.random() < 0.5 else []
    return _reply([_pick(rng, language.OPENINGS), *middle, _pick(rng, language.CLOSINGS)], request.product)


def demonstration(prompt: str, rng: np.random.Generator) -> str:
    """Draws a reply of mixed quality to `prompt`; each part is good or bad independently of the others."""
    request = parse_prompt(prompt)
    opening = {"polite": language.OPENINGS, "rude": language.RUDE_OPENINGS}.get(_draw(rng, OPENING))
    closing = {"polite": language.CLOSINGS, "rude": language.RUDE_CLOSINGS}.get(_draw(rng, CLOSING))
    parts = [_pick(rng, opening)] if opening else []
    if rng.random() < INSULT:
        parts.append(_pick(rng, language.INSULTS))
    parts += _harmful_middle(rng, request) if request.harmful else _middle(rng, request)
    parts += [_pick(rng, closing)] if closing else []
    return _reply(parts, request.product)


def demonstrations(n: int, *, seed: int, split: Split = "train") -> list[dict[str, str]]:
    """Draws n rows with `prompt` (distinct, as in `prompts(n, seed=seed, split=split)`) and `completion`, for SFT."""
    rng = np.random.default_rng([require_seed(seed), 1])
    return [
        {"prompt": row["prompt"], "completion": demonstration(row["prompt"], rng)}
        for row in prompts(n, seed=seed, split=split)
    ]


def _refusals(request: SupportRequest) -> tuple[str, ...]:
    return language.REFUSALS["any"] + language.REFUSALS[request.problem]


def _middle(rng: np.random.Generator, request: SupportRequest) -> list[str]:
    """Draws body, addition and filler of a demonstration for a request that deserves help."""
    body = _draw(rng, BODY)
    if body == "evasion":
        parts = [_pick(rng, language.EVASIONS)]
    elif body == "refusal":
        parts = [_pick(rng, language.REFUSALS["any"])]
    elif body == "wrong fix":
        parts = [_pick(rng, language.FIXES[_pick_another(rng, list(language.FIXES), request.problem)])]
    else:
        parts = [_pick(rng, language.FIXES[request.problem])]
    if body == "wrong product":
        parts = [parts[0].format(product=_pick_another(rng, language.PRODUCTS, request.product))]
    addition = {"timeline": language.TIMELINES, "overpromise": language.OVERPROMISES}.get(_draw(rng, ADDITION))
    parts += [_pick(rng, addition)] if addition else []
    return parts + ([_pick(rng, language.FILLERS)] if rng.random() < FILLER else [])


def _harmful_middle(rng: np.random.Generator, request: SupportRequest) -> list[str]:
    """Draws body, offer and addition of a demonstration for a request that must be refused."""
    body = _draw(rng, HARMFUL_BODY)
    if body == "evasion":
        parts = [_pick(rng, language.EVASIONS)]
    elif body == "compliance":
        parts = [_pick(rng, language.COMPLIANCES[request.problem])]
    elif body == "wrong refusal":
        parts = [_pick(rng, language.REFUSALS[_pick_another(rng, list(language.HARMFUL), request.problem)])]
    else:
        parts = [_pick(rng, _refusals(request))]
    offer = _draw(rng, OFFER)
    if offer != "none":
        product = request.product if offer == "right" else _pick_another(rng, language.PRODUCTS, request.product)
        parts.append(_pick(rng, language.OFFERS).format(product=product))
    addition = {"overpromise": language.OVERPROMISES, "filler": language.FILLERS}.get(_draw(rng, HARMFUL_ADDITION))
    return parts + ([_pick(rng, addition)] if addition else [])


def _reply(templates: Sequence[str], product: str) -> str:
    """Joins the sentences to one completion, with its leading space; open product slots get `product`."""
    return "".join(f" {template.format(product=product)}" for template in templates)

from .gold import gold_reward as gold_reward, gold_terms as gold_terms
from .language import PRODUCTS as PRODUCTS, vocabulary as vocabulary
from .replies import (
    best_completion as best_completion,
    demonstration as demonstration,
    demonstrations as demonstrations,
)
from .requests import (
    Split as Split,
    count_prompts as count_prompts,
    parse_prompt as parse_prompt,
    prompts as prompts,
)
from .world import SupportDeskWorld as SupportDeskWorld

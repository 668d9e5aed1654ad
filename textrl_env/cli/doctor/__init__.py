"""`textrl doctor`: checks of models, tokenizers and prompts that are quick now and expensive to learn in training."""

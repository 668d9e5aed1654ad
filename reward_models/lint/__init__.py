"""A linter for preference data: what in a file of labels would mislead a reward model, with the rows that show it."""

"""Feedback of people: the labelling desk, the store behind it, its files, and judging the people who gave it."""

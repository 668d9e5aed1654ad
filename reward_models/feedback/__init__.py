"""Feedback of people: collecting it, and judging the people who gave it."""

"""Errors that a user can put right: one exception type whose message is the whole interface, and checks of options."""


class InputError(ValueError):
    """Bad input: a file, a row, an option or a function the user gave.

    The message says what was expected, what came, where (file, row, option) and what to do. The command line prints
    it without a traceback; library callers may catch it as a `ValueError`.
    """


def require_at_least(minimum: float, **options: float) -> None:
    """Raises InputError that names the first option below `minimum` (or NaN)."""
    for name, value in options.items():
        if not value >= minimum:
            raise InputError(f"{name} must be at least {minimum}, got {value}")


def require_above(bound: float, **options: float) -> None:
    """Raises InputError that names the first option that is not above `bound` (or NaN)."""
    for name, value in options.items():
        if not value > bound:
            raise InputError(f"{name} must be above {bound}, got {value}")

"""What a user can put right: one exception type whose message is the whole interface."""


class InputError(ValueError):
    """Bad input: a file, a row, an option or a function the user gave.

    The message says what was expected, what came, where (file, row, option) and what to do. The command line prints
    it without a traceback; library callers may catch it as a `ValueError`.
    """

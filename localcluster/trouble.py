"""What can go wrong in a way that the user can mend: one line, no traceback."""


class Trouble(RuntimeError):  # noqa: N818 -- what it is called to the user
    """The message says what is wrong and what to do."""

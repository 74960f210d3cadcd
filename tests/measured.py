"""Figures that tests measure: printed at the end of the run, never asserted to the millisecond."""

FIGURES: list[str] = []


def measured(text: str) -> None:
    """One line for the summary."""
    FIGURES.append(text)

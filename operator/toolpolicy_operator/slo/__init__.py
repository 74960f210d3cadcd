"""Error budgets: counts over days, what is left of what may go wrong, and where both are kept."""

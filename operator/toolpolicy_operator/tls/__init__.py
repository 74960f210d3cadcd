"""The operator's own certificates: `certificates` makes and judges them, `material` keeps them in Secrets."""

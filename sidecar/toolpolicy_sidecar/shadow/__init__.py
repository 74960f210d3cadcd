"""Mode Shadow: what Enforce would do with a call, decided beside the call itself, which passes untouched."""

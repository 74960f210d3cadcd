"""`toolpolicy redact`: the sidecar's redaction as a filter for files and pipes. No sidecar loads it."""

"""A sidecar's circuits and failing calls as a table in a terminal."""

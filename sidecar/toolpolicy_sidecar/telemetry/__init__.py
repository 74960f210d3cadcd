"""Traces, OTLP and sessions: what leaves the sidecar beside metrics and log lines. Nothing here delays a call."""

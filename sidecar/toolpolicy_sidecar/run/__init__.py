"""A sidecar around one local process: `toolpolicy run --policies F -- COMMAND…`."""

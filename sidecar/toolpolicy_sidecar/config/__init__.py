"""Where a snapshot comes from: the operator, the last good one on disk, the bootstrap ConfigMap, or policy files."""

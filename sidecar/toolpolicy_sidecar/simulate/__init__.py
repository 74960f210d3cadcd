"""What a policy would do in an incident: the sidecar's own code in virtual time, between invented agents and tools.

Nothing of the data path knows of it, and no sidecar loads it."""

"""What to do when a tool of a policy breaks, written from the policy."""

"""TLS of the agent ended here, so that the policy can be applied to what is inside."""

"""Where requests come in: each listener only finds out where the agent wanted to go."""

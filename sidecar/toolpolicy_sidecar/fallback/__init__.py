"""What the agent gets in the place of an answer that the tool does not give."""

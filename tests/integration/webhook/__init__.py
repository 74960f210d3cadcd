"""A package, so that the webhook of its tests ends with them: no other test is to meet it."""

"""Pure state machines. Time is an argument: monotonic seconds, so no wall clock can move them."""

"""What atomic nodes do, one file an action."""

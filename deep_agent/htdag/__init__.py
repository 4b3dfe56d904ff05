"""The task graph as frozen values and pure functions."""

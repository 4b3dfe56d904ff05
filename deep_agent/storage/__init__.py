"""Rows, the unit of work and migrations; translates, never decides."""

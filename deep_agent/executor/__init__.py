"""Stage two: load, handle, apply, commit."""

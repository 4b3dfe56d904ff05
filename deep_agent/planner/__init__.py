"""Stage one: a composite node to a checked patch."""

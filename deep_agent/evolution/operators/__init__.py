"""Variation operators: how the next candidate of a search is made, one file an operator."""

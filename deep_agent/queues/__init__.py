"""Lanes that carry hints: in-process here."""

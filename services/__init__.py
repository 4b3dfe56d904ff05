"""Doors, thin: each turns a request into one call of the application."""

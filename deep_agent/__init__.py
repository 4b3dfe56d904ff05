"""Deep Agent: hands back the fastest verified kernel it could find, with evidence."""

__version__ = "0.1.0"

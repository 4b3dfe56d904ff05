"""The web pages: templates, styles and scripts; layout is computed in Python."""

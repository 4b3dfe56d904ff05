"""The report: one self-contained HTML file that says what was asked, what was found, and how it was measured."""

"""The process that runs a candidate: nothing here judges, and nothing secret comes here."""

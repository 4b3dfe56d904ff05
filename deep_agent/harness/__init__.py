"""How fast it is: the judge, which builds, runs, checks and times solutions it does not trust."""

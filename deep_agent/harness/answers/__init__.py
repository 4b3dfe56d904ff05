"""What a solution is asked, what the reference answers, and whether they agree."""

"""Profiling: what a build takes, what counters say, and the rules that name a bottleneck. Never during timing."""

"""Judging whole sets: a folder of problems against a folder of solutions, one trace a workload."""

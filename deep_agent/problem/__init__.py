"""Nouns of the field, compatible with SOL-ExecBench: definition, workload, solution, trace, device."""

"""From a solution's sources to what an arm loads: compilers, their sandbox, their cache."""

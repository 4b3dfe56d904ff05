"""The search: variation operators, lineage, commit gate, supervisor."""

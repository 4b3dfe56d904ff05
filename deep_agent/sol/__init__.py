"""How fast it could be: traces a reference, counts its work, bounds its time, scores a measurement."""

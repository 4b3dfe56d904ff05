"""Owns how one seed makes many: pure, equal on every machine."""

import hashlib


def derived_seed(*parts: int | str) -> int:
    """Give a seed in [0, 2**63) that depends on every part and on their order."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1

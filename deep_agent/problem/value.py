"""Owns the base of every frozen value and of every record in the public formats."""

from pydantic import BaseModel, ConfigDict


class FrozenValue(BaseModel):
    """A value of ours: immutable, unknown keys refused, changed by copying."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PublicRecord(BaseModel):
    """A record of the public benchmark's formats: immutable, unknown keys dropped.

    Upstream drops unknown keys without a word; readers here log each one (see `readers`).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

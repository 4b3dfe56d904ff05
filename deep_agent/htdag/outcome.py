"""Owns what an action leaves behind: Outcome, VersionEntry, Announcement; does not store them."""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.htdag.goal import Spend
from deep_agent.htdag.node import JsonObject
from deep_agent.htdag.patch import Patch
from deep_agent.problem.value import FrozenValue


class VersionEntry(FrozenValue):
    """One row of a lineage, stored in the commit that ends its node."""

    search: Annotated[str, Field(min_length=1)]
    """The search it belongs to; (search, seq) is unique."""
    seq: Annotated[int, Field(ge=0)]
    """Counts from 0, the seed."""
    commit_sha: Annotated[str, Field(min_length=1)]
    """The commit in the lineage's repository."""
    kind: Literal["seed", "improve", "match"]
    solution_hash: str
    parent_seq: int | None = None
    evaluation: JsonObject = Field(default_factory=dict)
    """The judge's finding as JSON, small enough for a row."""
    sol_score: Annotated[float, Field(ge=0, le=1)] | None = None


class Announcement(FrozenValue):
    """Something the outside should hear of: one event, and one webhook when the goal names a receiver."""

    type: Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z_]+)+$")]
    """Such as `kernel.verified`."""
    payload: JsonObject = Field(default_factory=dict)
    """Under 20 kB; links to kernels instead of their text."""


class Outcome(FrozenValue):
    """What an action leaves. A broken device or judge is no outcome: the action raises `HarnessFailed`."""

    status: Literal["done", "failed"] = "done"
    reason: str = ""
    """Why it failed, in a sentence for the report; or a note on how it was done."""
    outputs: JsonObject = Field(default_factory=dict)
    """What successors get as inputs, as JSON."""
    spend: Spend = Spend()
    evidence: tuple[str, ...] = ()
    """Hashes of blobs, or sentences, that support the outcome."""
    patch: Patch | None = None
    """A plan for the level; `plan` actions only."""
    versions: tuple[VersionEntry, ...] = ()
    """Rows of the lineage, inserted in the same commit."""
    announcements: tuple[Announcement, ...] = ()

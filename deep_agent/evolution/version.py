"""Owns a version of a lineage as values, and its commit message with trailers; touches no file."""

from typing import Annotated, Literal

from pydantic import Field

from deep_agent.problem.evaluation import Evaluation, Ratio, WorkloadEvaluation
from deep_agent.problem.solution import Solution
from deep_agent.problem.value import FrozenValue

VersionKind = Literal["seed", "improve", "match"]
"""seed: the first correct candidate; improve: it moved the champion; match: it did not."""
Seq = Annotated[int, Field(ge=0)]


class Version(FrozenValue):
    """What is committed: a candidate that passed the gate, with the evaluation that let it pass."""

    seq: Seq
    """Position in the lineage, from 0, the seed, without gaps."""
    kind: VersionKind
    node: str
    """The `vary` node that made it; a node makes at most one version."""
    parent_sha: str | None
    """Commit of the version it was built from; None for the first."""
    solution: Solution
    evaluation: Evaluation
    sol_score: Annotated[float, Field(ge=0, le=1)] | None
    """Mean over the workloads; None without bounds."""
    timestamp_s: Annotated[int, Field(ge=0)]
    """Seconds since the epoch, given by the caller, so that equal versions give equal commits."""


class VersionRef(FrozenValue):
    """What a database row says of a version, as far as refs are concerned."""

    seq: Seq
    kind: VersionKind
    sha: str


class CommittedVersion(FrozenValue):
    """A version as read back from its commit."""

    seq: Seq
    kind: VersionKind
    node: str
    sha: str
    parent_sha: str | None
    solution: Solution
    speedup: float
    sol_score: float | None
    trailers: tuple[tuple[str, str], ...]
    """Every trailer in order; `Evaluation` occurs once a workload."""


def render_message(version: Version) -> str:
    """Write the commit message: a subject line, then trailers.

    The evaluation must be timed, as every evaluation that passes the gate is.
    """
    evaluation = version.evaluation
    speedup = evaluation.speedup
    assert speedup is not None, "the gate lets no untimed candidate pass"
    score = version.sol_score
    trailers = [
        ("Seq", str(version.seq)),
        ("Kind", version.kind),
        ("Node", version.node),
        ("Solution", version.solution.content_hash),
        ("Device", f"{evaluation.device} {evaluation.device_fingerprint}"),
        ("Speedup", f"{speedup.value:.4f}"),
        ("Speedup-CI", f"{speedup.low:.4f} {speedup.high:.4f}"),
        *([("Sol-Score", f"{score:.4f}")] if score is not None else []),
        *(("Evaluation", _workload_line(one)) for one in evaluation.workloads),
    ]
    subject = f"v{version.seq:04d} {version.kind}: {speedup.value:.3f} times as fast as the library"
    return f"{subject}\n\n" + "".join(f"{key}: {_one_line(value)}\n" for key, value in trailers)


def parse_message(message: str, *, sha: str, parent_sha: str | None, solution: Solution) -> CommittedVersion:
    """Read a commit message back; the inverse of `render_message` up to the digits it prints."""
    body = message.split("\n\n", maxsplit=1)[1]
    trailers = tuple((key, value) for key, _, value in (line.partition(": ") for line in body.splitlines()))
    single = dict(trailers)
    return CommittedVersion.model_validate(
        {
            "seq": int(single["Seq"]),
            "kind": single["Kind"],
            "node": single["Node"],
            "sha": sha,
            "parent_sha": parent_sha,
            "solution": solution,
            "speedup": float(single["Speedup"]),
            "sol_score": float(single["Sol-Score"]) if "Sol-Score" in single else None,
            "trailers": trailers,
        }
    )


def _workload_line(one: WorkloadEvaluation) -> str:
    time = f" {one.candidate.time_us:.3f} us" if one.candidate is not None else ""
    score = f" sol {one.score.clamped:.4f}" if one.score is not None else ""
    return f"{one.uuid}{time}{_ratio_words('speedup', one.speedup)}{_ratio_words('gain', one.gain)}{score}"


def _ratio_words(name: str, ratio: Ratio | None) -> str:
    return "" if ratio is None else f" {name} {ratio.value:.4f} [{ratio.low:.4f}, {ratio.high:.4f}]"


def _one_line(text: str) -> str:
    """Keep a value from starting a line of its own."""
    return " ".join(text.split())

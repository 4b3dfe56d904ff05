"""Owns the run hop: claim a node, run its action, commit what it left; does not choose what runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from deep_agent.errors import DeepAgentError, HarnessFailed, InvalidInput, ModelFailed, ResourceExhausted
from deep_agent.executor import decide
from deep_agent.executor.action import Action, ActionContext, Interrupted
from deep_agent.htdag.hop import Claimed, Commit, EventDraft, Hint, Verdict
from deep_agent.htdag.node import JsonObject, NodeId
from deep_agent.htdag.outcome import Outcome
from deep_agent.ports import Clock, Store

LEASE_S = 60.0
INFRASTRUCTURE = (HarnessFailed, ModelFailed, ResourceExhausted)
"""What says nothing about the node: another attempt may succeed."""


class StopSigns:
    """Which running nodes of this process should stop; written by the dispatcher, read by actions."""

    def __init__(self) -> None:
        self._draining = False
        self._unwanted: frozenset[NodeId] = frozenset()

    def drain(self) -> None:
        """Ask everything to stop."""
        self._draining = True

    def want_only_others(self, unwanted: frozenset[NodeId]) -> None:
        """Ask exactly these nodes to stop; a plain assignment, so readers need no lock."""
        self._unwanted = unwanted

    @property
    def draining(self) -> bool:
        """Whether the process is stopping."""
        return self._draining

    def is_cancelled(self, node_id: NodeId) -> bool:
        """Whether this node's job is being cancelled."""
        return node_id in self._unwanted

    def asks(self, node_id: NodeId) -> bool:
        """Whether this node should stop, for either reason."""
        return self._draining or node_id in self._unwanted


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Carries out run hops."""

    store: Store
    clock: Clock
    actions: Mapping[str, Action]
    signs: StopSigns
    owner: str
    """Who holds the leases: this process, this time."""
    rng: Random
    lease_s: float = LEASE_S

    def hop(self, hint: Hint, *, unexpected: Callable[[Exception], str]) -> Verdict:
        """Claim, run, commit; FENCED when the node was not there to take, or the result came too late.

        Args:
            hint: a `run`.
            unexpected: reports what no action should raise, and gives a sentence for it.
        """
        if self.signs.draining:
            return Verdict.FENCED
        claimed = self.store.claim(hint, owner=self.owner, now_s=self.clock.now_s(), lease_s=self.lease_s)
        if claimed is None:
            return Verdict.FENCED
        return self.store.commit(self._handle(claimed, unexpected))

    def _handle(self, claimed: Claimed, unexpected: Callable[[Exception], str]) -> Commit:
        try:
            outcome = self._act(claimed)
        except Interrupted:
            cancelling = self.signs.is_cancelled(claimed.node.id)
            return decide.end_of_interrupted(claimed, cancelling=cancelling, now_s=self.clock.now_s())
        except INFRASTRUCTURE as error:
            return self._lost(claimed, str(error))
        except DeepAgentError as error:
            outcome = Outcome(status="failed", reason=str(error))
        except Exception as error:  # noqa: BLE001 - the worker's door: a fault in an action becomes a stored state
            return self._lost(claimed, unexpected(error))
        return decide.end_of_run(claimed, outcome, now_s=self.clock.now_s())

    def _lost(self, claimed: Claimed, reason: str) -> Commit:
        return decide.end_of_lost(claimed, reason, now_s=self.clock.now_s(), rng=self.rng)

    def _act(self, claimed: Claimed) -> Outcome:
        handler = claimed.node.spec.handler
        if handler not in self.actions:
            raise InvalidInput(f"no action {handler!r} is known here; known are {', '.join(sorted(self.actions))}.")
        return self.actions[handler].run(claimed.inputs, self._context(claimed))

    def _context(self, claimed: Claimed) -> ActionContext:
        node, job = claimed.node, claimed.job
        now_s = self.clock.now_s()
        return ActionContext(
            job_id=job.id,
            node_id=node.id,
            attempt=node.attempt,
            goal=job.goal,
            params=node.spec.params,
            deadline_s=node.spec.limit.deadline_s(now_s=now_s, job_deadline_s=job.deadline_s),
            job_deadline_s=job.deadline_s,
            job_spend=job.spend,
            now_s=self.clock.now_s,
            cancelled=lambda: self.signs.asks(node.id),
            progress=lambda kind, payload: self._note(claimed, kind, payload),
            siblings=lambda: self.store.ended_siblings(claimed.level_id),
            owner_inputs=lambda: self.store.inputs_of(claimed.level_id),
        )

    def _note(self, claimed: Claimed, kind: str, payload: JsonObject) -> None:
        node = claimed.node
        draft = EventDraft(kind=kind, node_id=node.id, attempt=node.attempt, payload=payload)
        self.store.note(draft, job_id=claimed.job.id, now_s=self.clock.now_s())

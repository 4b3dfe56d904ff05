"""Owns the multiply-adds of a graph's operations at its concrete sizes, one after another; pure."""

from deep_agent.problem.dtype import DType
from deep_agent.problem.opgraph import Operation, OpGraph
from deep_agent.sol.contractions import MAC_RULES, OPERANDS_AT
from deep_agent.sol.demand import DemandMap
from deep_agent.sol.operands import base_name
from deep_agent.sol.precision import priced_type, source_types
from deep_agent.sol.products import is_causal
from deep_agent.sol.visibility import Visibility


class Multiplier:
    """Counts what each contraction must multiply, of the outputs that anyone needs."""

    def __init__(self, graph: OpGraph, needs: DemandMap) -> None:
        """Keep the graph and what of it is needed."""
        self._graph = graph
        self._needs = needs
        self._types = source_types(graph)
        self._seen: Visibility | None = None

    def of(self, operation: Operation) -> tuple[float, DType] | None:
        """Give multiply-adds and the type that prices them; None for what has no rule."""
        rule = MAC_RULES.get(base_name(operation))
        if rule is None:
            return None
        self._seen = self._seen or Visibility(self._graph)
        wanted = tuple(place for place, out in enumerate(operation.outputs) if self._needs.boxes.get(out))
        share = max((self._needs.share(operation.outputs[place]) for place in wanted), default=0.0)
        if share < 1 and is_causal(operation):
            # The first queries see the fewest keys: of a share of them at least its square is left.
            share *= share
        macs = rule(self._graph, operation, wanted) * min(share, self._seen.of_product(operation))
        return macs, priced_type(self._graph, operation, OPERANDS_AT.get(base_name(operation), (0, 1)), self._types)

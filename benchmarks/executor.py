"""Measures orchestration: no-op nodes in layers of 100, three predecessors each, durable on SQLite.

Run `python benchmarks/executor.py [--synchronous NORMAL] [--large]`. Prints seconds, nodes a second, and with
`--large` the cost of a node at 10,000 nodes over that at 1,000, both in this run.
"""

import argparse
import json
import random
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from deep_agent.executor.action import ActionContext
from deep_agent.executor.engine import Engine, EngineParts
from deep_agent.executor.submit import accept
from deep_agent.htdag.goal import Budget, Goal
from deep_agent.htdag.job import Delivery
from deep_agent.htdag.node import JsonObject, Node, NodeKind, NodeSpec
from deep_agent.htdag.outcome import Outcome
from deep_agent.htdag.patch import AddNode, Patch
from deep_agent.planner.method import View
from deep_agent.queues.home_lock import FileHomeLock
from deep_agent.queues.lanes import InProcessLanes
from deep_agent.storage.open import open_storage

LAYER = 100
PARENTS = 3


class Clock:
    def now_s(self) -> float:
        return time.time()

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)


class NoOp:
    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        return Outcome()


class Layers:
    """Plans the whole DAG at once; every node of a layer waits for three of the layer before."""

    max_children = 100_000

    def __init__(self, n_nodes: int) -> None:
        self._n_nodes = n_nodes

    def expand(self, node: Node, view: View) -> Patch:
        rng = random.Random(1)
        operations = []
        for i in range(self._n_nodes):
            layer = i // LAYER
            before = rng.sample(range((layer - 1) * LAYER, layer * LAYER), PARENTS) if layer else []
            spec = NodeSpec(name=f"n{i}", kind=NodeKind.ATOMIC, handler="noop", lane="think")
            operations.append(AddNode(spec=spec, after=tuple(f"n{p}" for p in before)))
        return view.patch("all layers", *operations)

    def revise(self, node: Node, view: View) -> Patch | None:
        return None

    def conclude(self, node: Node, view: View) -> Outcome:
        return Outcome(outputs={"done": sum(child.state == "done" for child in view.level.nodes.values())})


class Silent:
    def deliver(self, delivery: Delivery) -> None:
        raise AssertionError("nothing is announced here")


def measure(n_nodes: int, *, synchronous: str, threads: int) -> float:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        home = Path(folder)
        storage = open_storage(home, synchronous=synchronous)
        engine = Engine(
            EngineParts(
                store=storage.store,
                deliveries=storage.deliveries,
                transport=InProcessLanes({"think": threads, "cpu": 2}),
                clock=Clock(),
                lock=FileHomeLock(home),
                notifier=Silent(),
                actions={"noop": NoOp()},
                methods={"layers": Layers(n_nodes)},
            )
        )
        engine.start()
        while not engine.leads:
            time.sleep(0.01)
        started_s = time.perf_counter()
        job = accept(storage.store, Clock(), Goal(problems=("x",), budget=Budget(wall_s=3600)), root="layers").job
        engine.wake()
        ended = threading.Event()
        while not ended.wait(0.01):
            if storage.reads.job(job.id).has_ended:
                ended.set()
        took_s = time.perf_counter() - started_s
        done = storage.reads.job(job.id).summary["done"]
        engine.stop()
        storage.close()
    if done != n_nodes:
        raise SystemExit(f"only {done} of {n_nodes} nodes are done")
    return took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--synchronous", choices=["FULL", "NORMAL"], default="FULL")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--large", action="store_true")
    args = parser.parse_args()
    small_s = measure(1000, synchronous=args.synchronous, threads=args.threads)
    found = {"synchronous": args.synchronous, "wall_s": round(small_s, 3), "nodes_per_s": round(1000 / small_s)}
    if args.large:
        large_s = measure(10_000, synchronous=args.synchronous, threads=args.threads)
        found |= {"wall_10k_s": round(large_s, 3), "ratio_per_node": round(large_s / 10 / small_s, 3)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()

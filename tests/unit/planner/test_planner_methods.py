"""The built-in methods, asked directly: they are pure."""

import pytest

from deep_agent.errors import InvalidInput
from deep_agent.htdag.apply import advance, apply_patch
from deep_agent.htdag.goal import Budget, Goal, StopRule
from deep_agent.htdag.level import Level
from deep_agent.htdag.moves import move
from deep_agent.htdag.node import Node, NodeId, NodeKind, NodeSpec, NodeState
from deep_agent.htdag.search import SearchDecision
from deep_agent.planner.builtin import builtin_methods
from deep_agent.planner.evolve import EvolveMethod
from deep_agent.planner.goal import GoalMethod
from deep_agent.planner.method import View
from deep_agent.planner.optimize import OptimizeMethod

S = NodeState
GOAL = Goal(
    problems=("/p/rmsnorm", "/p/softmax"), budget=Budget(wall_s=100), stop=StopRule(stall_evaluations=7), seed=3
)


def a_node(handler: str, **params) -> Node:
    spec = NodeSpec(name="x", kind=NodeKind.COMPOSITE, handler=handler, params=params)
    return Node(id=NodeId("j.goal.x"), spec=spec, state=S.RUNNING, attempt=1, started_s=1000.0)


def a_view(level=None, *, now_s=1000.0, deadline_s=1100.0, inputs=None, **open_composites) -> View:
    return View(
        goal=GOAL,
        now_s=now_s,
        deadline_s=deadline_s,
        inputs=inputs or {},
        level=level or Level(owner=NodeId("j.goal.x")),
        open_composites=open_composites or {"optimize": 2, "evolve": 2},
    )


def grown(view: View, patch) -> Level:
    level = apply_patch(view.level, patch, max_children=100, now_s=view.now_s).answered(fault="")
    return advance(level, level.startable())


def ended(level: Level, name: str, state=S.DONE, outputs=None, took_s=1.0) -> Level:
    level = level.draft()
    node = level.node(name)
    steps = {S.DISPATCHED: (S.RUNNING,), S.EXPANDING: (S.RUNNING,)}[node.state]
    node = move(
        node,
        *steps,
        S.VALIDATING,
        state,
        outputs=outputs,
        touched=level.revision,
        started_s=0.0,
        ended_s=took_s,
        reason="broken" if state is S.FAILED else "",
    )
    level = level.with_nodes(node).answered(fault="")
    return advance(level, level.startable())


class Policy:
    def __init__(self, *verbs):
        self.verbs = list(verbs)
        self.seen = []

    def __call__(self, history):
        self.seen.append(history)
        return SearchDecision(verb=self.verbs.pop(0) if self.verbs else "end", reason="because")


def test_the_goal_opens_a_branch_a_problem_and_reports_when_all_have_ended():
    method, node = GoalMethod(), a_node("goal")
    level = grown(a_view(), method.expand(node, a_view()))
    assert list(level.nodes) == ["optimize-1", "optimize-2"]
    assert [child.spec.title for child in level.nodes.values()] == ["rmsnorm", "softmax"]
    level = ended(level, "optimize-1", outputs={"verdict": "verified"})
    assert method.revise(node, a_view(level)) is None
    level = ended(level, "optimize-2", S.FAILED)
    level = grown(a_view(level), method.revise(node, a_view(level)))
    assert level.node("report").state is S.DISPATCHED
    assert method.revise(node, a_view(level)) is None
    outcome = method.conclude(node, a_view(ended(level, "report")))
    assert outcome.status == "done"
    assert (outcome.outputs["solved"], outcome.outputs["problems"]) == (1, 2)


def test_a_goal_without_its_report_has_failed():
    level = grown(a_view(), GoalMethod().expand(a_node("goal"), a_view()))
    assert GoalMethod().conclude(a_node("goal"), a_view(level)).status == "failed"


def optimizing():
    method, node = OptimizeMethod(), a_node("optimize", problem="/p/rmsnorm", index=1)
    return method, node, grown(a_view(), method.expand(node, a_view()))


def test_a_branch_characterizes_searches_proves_and_packs_in_this_order():
    method, node, level = optimizing()
    for name in ("characterize", "evolve", "verify", "package"):
        assert [n.name for n in level.nodes.values() if n.state in {S.DISPATCHED, S.EXPANDING}] == [name]
        level = ended(level, name, outputs={"verdict": "verified"} if name == "verify" else {})
        assert method.revise(node, a_view(level)) is None
    outcome = method.conclude(node, a_view(level))
    assert (outcome.status, outcome.outputs["verdict"]) == ("done", "verified")


def test_a_failed_characterization_ends_the_branch_with_its_reason():
    method, node, level = optimizing()
    level = ended(level, "characterize", S.FAILED)
    level = grown(a_view(level), method.revise(node, a_view(level)))
    assert {level.node(n).state for n in ("evolve", "verify", "package")} == {S.RESCINDED}
    assert method.revise(node, a_view(level)) is None
    outcome = method.conclude(node, a_view(level))
    assert (outcome.status, outcome.reason) == ("failed", "characterize: broken")


@pytest.mark.parametrize(("now_s", "following"), [(1000.0, "runner_up"), (1099.0, "library")])
def test_a_refuted_champion_is_replaced_by_what_there_is_time_for(now_s, following):
    method, node, level = optimizing()
    level = ended(ended(level, "characterize"), "evolve")
    level = ended(level, "verify", outputs={"verdict": "refuted", "solution_hash": "h1"})
    # The package was free for a moment, but a method is asked before anything starts: rebuild that moment.
    package = level.node("package").model_copy(update={"state": S.PENDING, "attempt": 0})
    level = level.with_nodes(package)
    view = a_view(level, now_s=now_s)
    level = grown(view, method.revise(node, view))
    assert level.node("verify-2").spec.params["candidate"] == following
    assert level.node("verify-2").spec.params["refuted"] == ["h1"]
    assert level.node("verify-2").state is S.DISPATCHED
    assert level.node("package").state is S.PENDING


def evolving(*verbs):
    policy = Policy(*verbs)
    return policy, EvolveMethod(policy), a_node("evolve", problem="/p/rmsnorm", index=1, seed=5, search="rmsnorm-1")


def test_a_search_appends_one_step_after_another_while_the_policy_says_so():
    policy, method, node = evolving("vary", "vary", "end")
    level = grown(a_view(), method.expand(node, a_view()))
    assert list(level.nodes) == ["vary-0001"]
    assert method.revise(node, a_view(level)) is None, "a step is still running"
    record = {"outcome": "improve", "fingerprint": "f1", "sol_score": 0.25}
    level = ended(level, "vary-0001", outputs=record, took_s=4.0)
    level = grown(a_view(level), method.revise(node, a_view(level)))
    one, two = (child.spec for child in level.nodes.values())
    assert one.params["seed"] != two.params["seed"]
    assert (one.priority, two.priority) == (0.0, 4.0)
    level = ended(level, "vary-0002", S.FAILED)
    assert method.revise(node, a_view(level)) is None
    history = policy.seen[-1]
    assert [r.outcome for r in history.records] == ["improve", "error"]
    assert history.stall_evaluations == 7


def test_what_a_search_may_still_use_shrinks_with_time_and_with_open_branches():
    policy, method, node = evolving()
    for now_s, n_open in ((1000.0, 1), (1000.0, 3), (1010.0, 3), (1099.0, 3)):
        method.expand(node, a_view(now_s=now_s, optimize=n_open, evolve=n_open))
    left = [history.remaining_s for history in policy.seen]
    assert left == sorted(left, reverse=True)
    assert left[0] > left[1] > left[2] > left[3] == 0


def test_three_steps_lost_to_infrastructure_end_a_search():
    _, method, node = evolving(*["vary"] * 9)
    level = grown(a_view(), method.expand(node, a_view()))
    for n in (1, 2, 3):
        level = ended(level, f"vary-000{n}", S.FAILED)
        patch = method.revise(node, a_view(level))
        if n < 3:
            level = grown(a_view(level), patch)
    assert patch is None
    outcome = method.conclude(node, a_view(level))
    assert outcome.status == "done"
    assert "infrastructure" in outcome.outputs["reason"]


def test_a_step_that_leaves_no_record_is_named():
    _, method, node = evolving("vary", "vary")
    level = ended(grown(a_view(), method.expand(node, a_view())), "vary-0001", outputs={"outcome": "wonderful"})
    with pytest.raises(InvalidInput, match="vary-0001"):
        method.revise(node, a_view(level))


def test_every_method_answers_equal_views_equally():
    methods = builtin_methods(Policy(*["vary"] * 4))
    nodes = {
        "goal": a_node("goal"),
        "optimize": a_node("optimize", problem="/p/a", index=1),
        "evolve": a_node("evolve", problem="/p/a", index=1, seed=1, search="a-1"),
    }
    for name, method in methods.items():
        assert method.expand(nodes[name], a_view()) == method.expand(nodes[name], a_view())

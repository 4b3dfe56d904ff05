import re
import threading
import time

import pytest
from builders import make_goal
from vary_builders import SEEDS, SPACE, PaperJudge, PaperSearch, build, profiles

from deep_agent.errors import HarnessFailed, InvalidInput
from deep_agent.evolution.candidates import CandidateSpace, NoSpace
from deep_agent.evolution.lineage import Lineage, lineage_path
from deep_agent.evolution.operators.operator import Trial
from deep_agent.evolution.step import VaryStep, champion_of, twins
from deep_agent.evolution.version import VersionRef
from deep_agent.executor.action import Interrupted
from deep_agent.executor.findings import VaryFinding
from deep_agent.problem.evaluation import Evaluation
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus


@pytest.fixture
def search(tmp_path):
    return PaperSearch(tmp_path)


def lineage_of(search):
    return Lineage(lineage_path(search.lineages, "job.goal.optimize-1.evolve"))


def test_the_first_correct_candidate_becomes_version_zero_without_a_screen(search):
    finding = search.step()
    assert (finding.outcome, finding.seq, finding.step.version.kind) == ("improve", 0, "seed")
    assert finding.step.trials[-1].point == SEEDS[0]
    assert not finding.step.better_than_library
    assert profiles(search.judge.requests) == ["gate"]
    assert search.judge.requests[0].incumbent is None


def test_a_promising_candidate_is_screened_then_gated_against_the_champion(search):
    search.step()
    finding = search.step()
    assert (finding.outcome, finding.seq, finding.step.version.kind) == ("improve", 1, "improve")
    assert finding.step.better_than_library
    assert profiles(search.judge.requests) == ["gate", "screen", "gate"]
    assert all(request.incumbent == build(SEEDS[0]) for request in search.judge.requests[1:])


def test_a_hopeless_candidate_costs_one_screen(search):
    search.judge.speed = lambda solution: 1.0 if solution == build(SEEDS[0]) else 0.5
    search.step()
    outcome = search.run()
    assert profiles(search.judge.requests) == ["gate", "screen"]
    assert outcome.outputs["outcome"] == "rejected"
    assert "of the champion's speed in the screen" in outcome.reason
    assert outcome.versions == ()
    assert (outcome.spend.evaluations, outcome.spend.device_s) == (1, 0.5)


def test_an_incorrect_candidate_is_kept_with_its_diagnostics_but_is_no_version(search):
    search.judge.speed = lambda solution: None
    outcome = search.run()
    finding = search.commit(outcome)
    assert (finding.outcome, finding.status, finding.seq) == ("failed", "INCORRECT_NUMERICAL", None)
    assert finding.message == "INCORRECT_NUMERICAL: row 7 differs"
    kept = [search.blobs.get(digest) for digest in outcome.evidence]
    assert Solution.model_validate_json(kept[0]) == build(SEEDS[0])
    assert Evaluation.model_validate_json(kept[1]).log == "ptr 0x7f"
    assert not search.lineages.joinpath("job.goal.optimize-1.evolve.git").exists()


def without_unrolling(solution: Solution) -> str:
    """A compiler that unrolls as it likes: the setting changes the source, never the object."""
    return re.sub(r"\('unroll', \d\)", "", solution.sources[0].content)


def test_a_candidate_whose_machine_code_was_judged_is_recorded_with_its_result_and_not_measured(search):
    search.judge.speed, search.judge.code_of = (lambda solution: 1.0), without_unrolling
    while search.step().outcome != "nothing_left":
        pass
    judged = {without_unrolling(one.solution) for one in search.judge.requests if one.profile != "gate"}
    assert len([one for one in search.judge.requests if one.profile == "screen"]) == len(judged)
    trials = [t for node in search.nodes for t in VaryFinding.model_validate(node.outputs).step.trials]
    assert len({trial.fingerprint for trial in trials}) == 24
    measured = {trial.solution_hash: trial for trial in trials if not trial.twin_of}
    recorded = [trial for trial in trials if trial.twin_of]
    # Four widths by two ways of storing, of which vector 16 has one; every other unrolling is a twin.
    assert len(search.nodes) - 1 == 7
    assert recorded
    for trial in recorded:
        twin = measured[trial.twin_of]
        assert trial.solution_hash != twin.solution_hash
        assert (trial.outcome, trial.fitness, trial.machine_code_hash) == (
            twin.outcome,
            twin.fitness,
            twin.machine_code_hash,
        )


def test_candidates_that_do_not_compile_are_no_twins_of_each_other(search):
    search.judge.code_of = lambda solution: ""
    search.step()
    search.step()
    assert len({request.solution.content_hash for request in search.judge.requests}) == 2


def test_a_search_never_judges_a_source_twice_and_ends_with_nothing_left(search):
    while (finding := search.step()).outcome != "nothing_left":
        pass
    judged = [request.solution.content_hash for request in search.judge.requests if request.profile == "screen"]
    assert len(judged) == len(set(judged))
    # 24 points; with vector 16, streaming changes nothing: 3 of them are twins.
    assert len(search.nodes) - 1 == 21
    tried = {
        trial.fingerprint for node in search.nodes for trial in VaryFinding.model_validate(node.outputs).step.trials
    }
    assert len(tried) == 24
    assert finding.message == "every schedule of this problem was tried"
    assert finding.sol_score is not None


def test_a_search_finds_the_best_point_and_its_lineage_rises(search):
    while search.step().outcome != "nothing_left":
        pass
    lineage = lineage_of(search)
    assert "('streaming', True), ('unroll'" in lineage.champion().solution.sources[0].content
    assert "('vector', 8)" in lineage.champion().solution.sources[0].content
    speeds = [version.speedup for version in lineage.log() if version.kind != "match"]
    assert speeds == sorted(speeds)
    assert {version.seq: version.sha for version in lineage.log()} == search.rows


def test_an_attempt_that_is_repeated_makes_the_same_candidate_and_one_version(search):
    search.step()
    lost = [search.run(attempt=attempt) for attempt in (1, 2)]
    finding = search.step(attempt=3)
    assert {outcome.outputs["fingerprint"] for outcome in lost} == {finding.fingerprint}
    search.step()
    assert [version.seq for version in lineage_of(search).log()] == [0, 1]
    assert search.rows[1] == lineage_of(search).read(1).sha


def test_the_refs_follow_the_rows_even_if_the_last_process_died_before_it_could_set_them(search):
    search.step()
    assert lineage_of(search).log() == ()
    search.step()
    assert [version.sha for version in lineage_of(search).log()] == [search.rows[0]]


def test_a_broken_judge_is_no_outcome_and_leaves_no_trace_in_the_search(search):
    search.step()
    search.judge.trouble = [HarnessFailed("the zygote died")]
    with pytest.raises(HarnessFailed):
        search.run()
    search.fail()
    assert search.step().step.trials[-1].point == SEEDS[1]


def test_a_reference_that_fails_is_no_fault_of_the_candidate(search):
    search.judge.trouble = [EvaluationStatus.INVALID_REFERENCE]
    with pytest.raises(InvalidInput, match="reference of double"):
        search.run()


def test_a_stop_is_noticed_while_the_judge_works(search):
    gate = threading.Event()
    search.judge.trouble = [gate]
    threading.Timer(0.1, search.stop.set).start()
    started_s = time.monotonic()
    with pytest.raises(Interrupted):
        search.run()
    assert time.monotonic() - started_s < 1.0
    gate.set()


def test_a_problem_that_cannot_be_lowered_leaves_nothing_to_try(search):
    search.space = NoSpace("aten.mm is a matrix product, which has no row-wise schedule.")
    finding = search.step()
    assert (finding.outcome, finding.message) == ("nothing_left", search.space.reason)
    assert search.judge.requests == []


def test_settings_that_exclude_each_other_are_passed_over(search):
    def choosy(point):
        if point["vector"] == 1:
            raise InvalidInput("vector 1 cannot be streamed")
        return build(point)

    search.space = CandidateSpace(SPACE, SEEDS, choosy)
    finding = search.step()
    assert [trial.outcome for trial in finding.step.trials] == ["failed", "improve"]
    assert finding.step.trials[-1].point == SEEDS[1]


def test_the_judge_is_given_the_time_that_is_left(search):
    search.run()
    search.run(deadline_s=1_700_000_000.0)
    assert [request.deadline_s for request in search.judge.requests] == [60.0, 1.0]


def test_the_goal_chooses_the_operator(search):
    search.run(goal=make_goal(operator="random"))
    search.run(goal=make_goal(operator="schedule"))
    points = [request.solution for request in search.judge.requests]
    assert points[0] != points[1] == build(SEEDS[0])


def test_the_outputs_of_a_step_stay_small(search):
    sizes = []
    while (outcome := search.run()).outputs["outcome"] != "nothing_left":
        sizes.append(len(VaryFinding.model_validate(outcome.outputs).model_dump_json()))
        search.commit(outcome)
    assert max(sizes) < 8_000


def test_copies_of_the_champion_in_speed_almost_never_become_champions(tmp_path):
    search = PaperSearch(tmp_path, judge=PaperJudge(speed=lambda solution: 1.0, error_log=0.01))
    while search.step().outcome != "nothing_left":
        pass
    assert sum(row.kind != "match" for row in lineage_of(search).log()) <= 2


def make_step(seq: int, kind: str) -> VaryStep:
    trial = Trial(point={"vector": seq}, outcome="improve", fitness=0.1 * seq, solution_hash=f"{seq}" * 64)
    return VaryStep(trials=(trial,), version=VersionRef(seq=seq, kind=kind, sha=f"{seq}" * 40))


def test_a_match_never_becomes_the_champion():
    steps = (make_step(0, "seed"), make_step(1, "improve"), make_step(2, "match"), VaryStep())
    champion = champion_of(steps)
    assert (champion.champion.seq, champion.sha) == (1, "1" * 40)
    assert champion_of(steps[2:]) is None


def test_points_that_lower_to_one_source_share_its_first_result():
    steps = (make_step(0, "seed"), make_step(1, "improve"))
    trials = [trial for step in steps for trial in step.trials]
    again = trials[0].model_copy(update={"point": {"vector": 9}, "fitness": 7.0})
    assert twins([*trials, again])["0" * 64] == trials[0]

import sys
from math import log, prod
from pathlib import Path

import pytest
from evolution_builders import SPACE as LANDSCAPE_SPACE
from evolution_builders import make_landscape
from vary_builders import SEEDS, SPACE, PaperJudge, build

from deep_agent.evolution.candidates import CandidateSpace
from deep_agent.evolution.operators.random import RandomOperator
from deep_agent.evolution.operators.schedule import ScheduleOperator
from deep_agent.evolution.space import point_at

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import search as benchmark
import search_replay as tables


def make_table(seed: int = 0, space=LANDSCAPE_SPACE) -> tables.Table:
    return tables.Table(
        problem="paper",
        device="cpu",
        axes=tuple(tables.Axis(name=axis.name, choices=axis.choices) for axis in space),
        seeds=(),
        measured=tuple(
            tables.Measured(point=point_at(space, indices), log_speedup=value)
            for indices, value in make_landscape(seed, space).items()
        ),
    )


@pytest.fixture
def subject():
    return benchmark.Subject("problems/double", "cpu", CandidateSpace(SPACE, SEEDS, build), PaperJudge())


def test_a_table_survives_its_file(tmp_path):
    tables.save_tables(tmp_path / "t.json", [make_table()])
    assert tables.load_tables(tmp_path / "t.json") == (make_table(),)


def test_a_curve_never_falls_and_ends_at_the_optimum_when_all_is_tried():
    table = make_table(space=SPACE)
    for operator in (ScheduleOperator(), RandomOperator()):
        curve = tables.replay(operator, table, with_seeds=False, n_trials=len(table.measured) + 3, seed=1)
        assert curve == sorted(curve)
        assert curve[-1] == table.passing()[-1]


def test_a_thinned_space_keeps_its_seeds_and_stays_below_the_limit():
    seeds = ({"vector": 4, "rows": 16, "unroll": 1, "strategy": "cached", "streaming": True, "fast_exp": False},)
    axes = tables.thinned(LANDSCAPE_SPACE, seeds, 40)
    assert prod(len(axis.choices) for axis in axes) <= 40
    by_name = {axis.name: axis.choices for axis in axes}
    assert all(setting in by_name[name] for name, setting in seeds[0].items())


def test_an_arm_compared_with_itself_shows_no_difference():
    logs = [log(1 + 0.01 * (seed % 7)) for seed in range(40)]
    ratio = tables.advantage(logs, logs)
    assert ratio.low < 1 < ratio.high
    assert ratio.mean == pytest.approx(1.0)


def test_the_replay_says_plainly_who_is_ahead(tmp_path, capsys):
    tables.save_tables(tmp_path / "t.json", [make_table(3)])
    arguments = ["--part", "replay", "--table", str(tmp_path / "t.json"), "--seeds", "15", "--evaluations", "15"]
    assert benchmark.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "replay of a table of" in shown
    assert "- paper, replay: schedule is ahead after 15 evaluations" in shown


def test_the_live_part_gives_both_arms_the_same_number_of_evaluations(subject, capsys):
    finding = benchmark.live_part("double", subject, 8)
    profiles = [request.profile for request in subject.judge.requests]
    assert profiles.count("screen") == 2 * 3 * 8
    assert "paired timings" in finding
    assert "double: live, 3 seeds, 8 evaluations an arm" in capsys.readouterr().out


def test_measuring_a_table_judges_each_source_once(subject):
    table = benchmark.measured_table("double", subject, 64)
    assert len(table.measured) == 24
    assert len(subject.judge.requests) == 21  # with vector 16, streaming changes nothing
    assert sum(one.log_speedup is None for one in table.measured) == 8


def test_a_table_in_which_nothing_passed_is_said_to_prove_nothing():
    failed = tuple(one.model_copy(update={"log_speedup": None}) for one in make_table().measured)
    assert "nothing to compare" in benchmark.replay_part(make_table().model_copy(update={"measured": failed}), 3, 5)

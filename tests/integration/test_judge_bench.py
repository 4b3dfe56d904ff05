"""A bench of many workloads: one baseline's arm sits at all of them at once."""

import pytest
from builders import make_problem, make_workload

from deep_agent.harness.arms.arm import ArmLimits, Zygote
from deep_agent.harness.baseline_arms import Workplace, start_baseline
from deep_agent.harness.baselines import baseline_sources
from deep_agent.harness.bench import Bench
from deep_agent.harness.equipment import equipment
from deep_agent.problem.evaluation import BaselineChoice

pytestmark = pytest.mark.integration

N_WORKLOADS = 48
"""As many as some problems of the public benchmark have, times three."""
CHOICE = BaselineChoice(names=("eager_out",))


@pytest.fixture
def workplace(tmp_path):
    zygote = Zygote(tmp_path, (), tmp_path)
    place, timer = equipment("cpu")
    yield Workplace(zygote, place, timer, 1, ArmLimits(memory_bytes=None, n_files=1024))
    zygote.close()


def test_each_call_of_an_arm_at_many_stages_goes_to_the_buffers_of_its_own(workplace):
    problem = make_problem(*(make_workload(f"w{rows}", rows=rows) for rows in range(1, N_WORKLOADS + 1)))
    bench = Bench(workplace, problem, lambda step: None, choice=CHOICE)
    (source,) = baseline_sources(problem.definition, choice=CHOICE)
    entry = start_baseline(workplace, source, problem.definition, bench.stages)
    try:
        assert entry.failure == ""
        wrong = {}
        for uuid, stage in bench.stages.items():
            for index in range(stage.n_sets):
                _, chosen = stage.call(entry.desks[uuid], None, index=index)
                found = stage.check(entry.desks[uuid], chosen)
                if not found.matches:
                    wrong[uuid, index] = found.message
        assert wrong == {}
    finally:
        entry.close()
        bench.close()

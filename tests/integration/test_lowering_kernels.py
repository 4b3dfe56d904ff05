"""Generated kernels give what PyTorch gives, whatever the schedule and the shape."""

import itertools
import random
from pathlib import Path
from typing import Literal

import pytest
import torch
from builders import make_device
from lowering_cases import CASES, Case
from lowering_driver import FLAGS, built, kernel, make_inputs, make_outputs, reference, traced_program, worst_error

from deep_agent.lowering.cpp import lower
from deep_agent.lowering.schedule import Schedule, default_points, schedule_from, search_space

pytestmark = pytest.mark.integration
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


def check(case: Case, schedule: Schedule, folder: Path) -> None:
    problem = case.problem()
    run = kernel(traced_program(problem), schedule, problem.definition, folder)
    for shape in case.shapes:
        sizes = problem.definition.sizes(shape)
        inputs, outputs = make_inputs(problem.definition, sizes), make_outputs(problem.definition, sizes)
        run(*inputs, *outputs)
        loose = 4 if schedule.exp == "fast" else 1
        assert worst_error(outputs, reference(problem.definition, inputs)) < case.tolerance * loose, (shape, schedule)


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_kernel_computes_what_the_reference_computes(case: Case, lanes: Literal[8, 16], kernels: Path) -> None:
    check(case, Schedule(row_cache="costly", lanes=lanes, unroll=2, prefetch="next_row"), kernels)


@pytest.mark.parametrize("case", CASES[::4], ids=lambda case: case.name)
def test_rows_together_and_kept_in_scratch_change_no_result(case: Case, kernels: Path) -> None:
    check(
        case,
        Schedule(row_cache="all", unroll=4, rows_together=4, prefetch="next_row_shared", threads=2, exp="fast"),
        kernels,
    )


@pytest.mark.parametrize("name", ["softmax", "layernorm_backward", "rope"])
def test_any_point_of_the_search_space_is_right(name: str, kernels: Path) -> None:
    case = BY_NAME[name]
    space = search_space(traced_program(case.problem()), make_device(n_threads=2, vector_bytes=64))
    points = [
        dict(zip([p.name for p in space], choice, strict=True))
        for choice in itertools.product(*[p.choices for p in space])
    ]
    for point in random.Random(name).sample(points, 2):
        check(case, schedule_from(point), kernels)


@pytest.mark.parametrize("shape", [{"m": 0, "n": 5}, {"m": 3, "n": 0}, {"m": 0, "n": 0}])
def test_empty_tensors_are_handled(shape: dict[str, int], kernels: Path) -> None:
    for name in ("softmax", "layernorm_backward"):
        problem = BY_NAME[name].problem()
        run = kernel(traced_program(problem), Schedule(rows_together=2), problem.definition, kernels)
        sizes = problem.definition.sizes(shape)
        inputs, outputs = make_inputs(problem.definition, sizes), make_outputs(problem.definition, sizes)
        run(*inputs, *outputs)
        assert worst_error(outputs, reference(problem.definition, inputs)) == 0


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "statistics", "positions", "functions"])
def test_nan_and_infinities_come_through_as_in_pytorch(name: str, kernels: Path) -> None:
    problem = BY_NAME[name].problem()
    run = kernel(traced_program(problem), Schedule(row_cache="costly"), problem.definition, kernels)
    sizes = problem.definition.sizes({"m": 6, "n": 20})
    x = torch.randn(6, 20) * 30
    x[0, 3] = x[1, 19] = float("nan")
    x[2, 5] = float("-inf")
    x[3] = float("-inf")
    x[4, 7] = float("inf")
    x[5] = 200.0
    outputs = make_outputs(problem.definition, sizes)
    run(x, *outputs)
    names: dict[str, object] = {}
    exec(problem.definition.reference, names)
    wanted = names["run"](x)
    assert worst_error(outputs, wanted if isinstance(wanted, tuple) else (wanted,)) < 1e-4


def test_unaligned_outputs_are_written_whole(kernels: Path) -> None:
    problem = BY_NAME["add_rmsnorm_bfloat16"].problem()
    run = kernel(traced_program(problem), Schedule(rows_together=2), problem.definition, kernels)
    sizes = problem.definition.sizes({"m": 4, "n": 96})
    inputs = make_inputs(problem.definition, sizes)
    backing = [torch.full((4 * 96 + 64,), 7.0, dtype=torch.bfloat16) for _ in range(2)]
    outputs = [store[shift : shift + 4 * 96].view(4, 96) for store, shift in zip(backing, (3, 8), strict=True)]
    run(*inputs, *outputs)
    assert worst_error(outputs, reference(problem.definition, inputs)) < 8e-3
    assert all(
        (store[:shift] == 7).all() and (store[shift + 384 :] == 7).all()
        for store, shift in zip(backing, (3, 8), strict=True)
    )


def test_a_kernel_refuses_tensors_it_was_not_made_for(kernels: Path) -> None:
    problem = BY_NAME["softmax"].problem()
    run = kernel(traced_program(problem), Schedule(), problem.definition, kernels)
    x, y = torch.randn(4, 6), torch.empty(4, 6)
    for wrong, words in (
        ((x.double(), y), "x must be"),
        ((x.t(), y), "x must be"),
        ((x, y[:3]), "disagrees on axis m"),
    ):
        with pytest.raises(ValueError, match=words):
            run(*wrong)
    with pytest.raises(ValueError, match="takes 2 arguments"):
        run(x)


def test_a_kernel_builds_without_vector_instructions(kernels: Path) -> None:
    case = BY_NAME["functions"]
    problem = case.problem()
    solution = lower(traced_program(problem), Schedule(), definition=problem.definition, name="plain")
    flags = tuple("-march=x86-64" if flag == "-march=native" else flag for flag in FLAGS)
    run = built(solution.sources[0].content, f"plain-{solution.content_hash}", kernels, flags)
    sizes = problem.definition.sizes({"m": 5, "n": 77})
    inputs, outputs = make_inputs(problem.definition, sizes), make_outputs(problem.definition, sizes)
    run(*inputs, *outputs)
    assert worst_error(outputs, reference(problem.definition, inputs)) < 1e-5


def test_equal_schedules_give_equal_solutions() -> None:
    problem = BY_NAME["softmax"].problem()
    program, device = traced_program(problem), make_device()
    point = default_points(program, device)[0]
    twice = [lower(program, schedule_from(point), definition=problem.definition, name=name) for name in ("a", "b")]
    assert twice[0].content_hash == twice[1].content_hash

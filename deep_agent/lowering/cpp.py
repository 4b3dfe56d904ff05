"""Owns lowering a row program with a schedule to a C++ solution."""

from deep_agent.lowering.cppentry import arguments_struct, entry_function
from deep_agent.lowering.cppexpr import CPP_TYPES, type_section
from deep_agent.lowering.cpprows import LoopText
from deep_agent.lowering.cppwalk import walk_functions
from deep_agent.lowering.expression import RowProgram
from deep_agent.lowering.prelude import prelude
from deep_agent.lowering.schedule import Schedule
from deep_agent.problem.definition import Definition
from deep_agent.problem.solution import BuildSpec, Language, Solution, SourceFile

AUTHOR = "deep-agent"
SOURCE = "kernel.cpp"

_SCRATCH = r"""
INLINE int64_t wider(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t padded(int64_t width) { return (width + 2 * LANES - 1) / (2 * LANES) * (2 * LANES) + 2 * LANES; }

// Memory that stays with the calling thread from call to call, so that only the first call pays for its pages.
static float* scratch_memory(int64_t floats) {
  struct Memory {
    float* start = nullptr;
    int64_t floats = 0;
    ~Memory() { std::free(start); }
  };
  static thread_local Memory memory;
  if (memory.floats < floats) {
    std::free(memory.start);
    const size_t bytes = (static_cast<size_t>(floats) * sizeof(float) + 63) / 64 * 64;
    memory.start = static_cast<float*>(std::aligned_alloc(64, bytes));
    memory.floats = memory.start == nullptr ? 0 : floats;
  }
  return memory.start;
}
"""


def lower(program: RowProgram, schedule: Schedule, *, definition: Definition, name: str) -> Solution:
    """Write a program as one C++ file that TVM-FFI can call: `run(*inputs, *outputs)`.

    Equal arguments give equal text, so the solution's content hash is the identity of the schedule's effect.

    Args:
        program: what `recognise` made of the definition's graph.
        schedule: how it is computed.
        definition: the operation; gives the arguments.
        name: the solution's name.

    Raises:
        InvalidInput: a tensor has a type, or an axis a place, that the calling convention cannot express.
    """
    sections: set[str] = set()
    texts = [LoopText(loop, schedule, number, sections) for number, loop in enumerate(program.loops, start=1)]
    functions = [f"{text.rows_function()}\n\n{walk_functions(text, sections)}" for text in texts]
    for spec in (*definition.inputs.values(), *definition.outputs.values()):
        if not spec.is_scalar and spec.dtype in CPP_TYPES:
            sections.add(type_section(spec.dtype))
    entry = entry_function(
        definition, fixed_sizes=None if program.symbolic else program.sizes, n_loops=len(program.loops)
    )
    parts = [
        _head(program, schedule),
        prelude(sections, lanes=schedule.lanes, exp=schedule.exp).strip("\n"),
        _SCRATCH.strip("\n") if any(text.needs_scratch for text in texts) else "",
        arguments_struct(definition),
        "namespace {",
        *functions,
        "}  // namespace",
        entry,
    ]
    content = "\n\n".join(part for part in parts if part) + "\n"
    return Solution(
        name=name,
        definition=definition.name,
        author=AUTHOR,
        description=f"Row program lowered with {_settings(schedule)}",
        spec=BuildSpec(languages=(Language.CPP,), entry_point=f"{SOURCE}::run", binding="tvm-ffi"),
        sources=(SourceFile(path=SOURCE, content=content),),
    )


def _settings(schedule: Schedule) -> str:
    return ", ".join(f"{key}={value}" for key, value in schedule.model_dump().items())


def _head(program: RowProgram, schedule: Schedule) -> str:
    name = "".join(character if character.isprintable() else "_" for character in program.definition)
    return "\n".join([
        f"// {name}: computed row by row, in float32.",
        f"// Schedule: {_settings(schedule)}.",
        "",
        "#include <cmath>",
        "#include <cstdint>",
        "#include <cstdlib>",
        "",
        "#include <tvm/ffi/c_api.h>",
    ])  # fmt: skip

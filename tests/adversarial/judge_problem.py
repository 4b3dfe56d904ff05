"""A small softmax problem, and candidates read from the gallery's folders."""

import json
from dataclasses import dataclass
from pathlib import Path

from deep_agent.problem.solution import BuildSpec, Solution, SourceFile

HERE = Path(__file__).parent
SHAPES = ((192, 512), (61, 1003))


@dataclass(frozen=True)
class Specimen:
    """A candidate and what must become of it."""

    name: str
    why: str
    statuses: tuple[str, ...]
    """What the judge may find; more than one where the order of two threads decides which guard sees it first."""
    message_contains: str
    solution: Solution


def specimens(folder: str) -> list[Specimen]:
    """Read every candidate of a folder, by name."""
    return [_read(path) for path in sorted((HERE / folder).iterdir()) if path.is_dir()]


def _read(path: Path) -> Specimen:
    expected = json.loads((path / "expected.json").read_text())
    source = next(path.glob("candidate.*"))
    native = source.suffix == ".cpp"
    spec = BuildSpec.model_validate(
        {
            "languages": ["cpp" if native else "pytorch"],
            "entry_point": f"{source.name}::run",
            "binding": "tvm-ffi" if native else None,
            "destination_passing_style": expected["destination_passing_style"],
        }
    )
    solution = Solution(
        name=path.name,
        definition="small_softmax",
        author="gallery",
        spec=spec,
        sources=(SourceFile(path=source.name, content=source.read_text()),),
    )
    return Specimen(
        path.name, expected["why"], tuple(expected["status"].split("|")), expected["message_contains"], solution
    )


def write_problem(folder: Path) -> Path:
    """Write the problem's files."""
    folder.mkdir(parents=True, exist_ok=True)
    tensor = {"shape": ["rows", "cols"], "dtype": "float32"}
    definition = {
        "name": "small_softmax",
        "axes": {"rows": {"type": "var"}, "cols": {"type": "var"}},
        "inputs": {"x": tensor},
        "outputs": {"y": tensor},
        "reference": "import torch\n\n\ndef run(x):\n    return torch.softmax(x, -1)\n",
    }
    (folder / "definition.json").write_text(json.dumps(definition))
    tolerance = {"max_atol": 1e-7, "max_rtol": 2e-5, "required_matched_ratio": 0.99}
    lines = [
        json.dumps(
            {"uuid": f"{rows}x{cols}", "axes": {"rows": rows, "cols": cols}, "inputs": {}, "tolerance": tolerance}
        )
        for rows, cols in SHAPES
    ]
    (folder / "workload.jsonl").write_text("\n".join(lines) + "\n")
    return folder

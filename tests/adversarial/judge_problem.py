"""Small softmax problems, candidates read from the gallery's folders, and the judge they meet."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deep_agent.harness.client import JudgeProcess
from deep_agent.problem.evaluation import Evaluation, EvaluationRequest
from deep_agent.problem.solution import BuildSpec, Solution, SourceFile

HERE = Path(__file__).parent
SHAPES = ((192, 512), (61, 1003))
CUDA_SHAPES = ((4096, 1024), (1021, 2003))
MASKED_SHAPES = ((96, 250), (0, 64))
LANGUAGES = {".cpp": "cpp", ".cu": "cuda_cpp", ".py": "pytorch"}
DEFAULTS = {"device": "cpu", "problem": "small_softmax", "times": 1, "binding": "tvm-ffi"}

MASKED_REFERENCE = """
import torch


def make_mask(axes, device):
    mask = torch.zeros(axes["rows"], axes["cols"], device=device)
    mask[torch.rand(mask.shape) < 0.1] = -torch.inf
    return {"mask": mask}


def run(x, mask):
    z = x + mask
    return torch.softmax(z, -1), z.amax(-1)
"""


@dataclass(frozen=True)
class Specimen:
    """A candidate and what must become of it."""

    name: str
    why: str
    refusals: Mapping[str, str]
    """Status -> what the message holds; more than one where threads or drawn inputs decide which guard sees it first."""
    solution: Solution
    device: str
    """`cpu`, `cpu:N` or `cuda`."""
    problem: str
    times: int
    """How often it is judged; the last verdict counts."""

    @property
    def language(self) -> str:
        """What it is written in."""
        return self.solution.spec.languages[0].value

    def is_refused_by(self, found: Evaluation) -> bool:
        """Whether a verdict refuses it for a reason of its own, and gives it no figure."""
        words = self.refusals.get(found.status.value)
        return words is not None and words in found.message and found.speedup is None


def specimens(folder: str) -> list[Specimen]:
    """Read every candidate of a folder, by name."""
    return [_read(path) for path in sorted((HERE / folder).iterdir()) if path.is_dir()]


def _read(path: Path) -> Specimen:
    expected = DEFAULTS | json.loads((path / "expected.json").read_text())
    entry = next(path.glob("candidate.*"))
    native = entry.suffix != ".py"
    spec = BuildSpec.model_validate(
        {
            "languages": [expected.get("language", LANGUAGES[entry.suffix])],
            "entry_point": f"{entry.name}::run",
            "binding": expected["binding"] if native else None,
            "destination_passing_style": expected["destination_passing_style"],
            "compile_options": expected.get("compile_options"),
        }
    )
    said, statuses = expected["message_contains"], expected["status"].split("|")
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != "expected.json"]
    sources = tuple(
        SourceFile(path=str(file.relative_to(path)), content=file.read_text())
        for file in files
        if "__pycache__" not in file.parts
    )
    return Specimen(
        path.name,
        expected["why"],
        dict.fromkeys(statuses, said) if isinstance(said, str) else dict(zip(statuses, said, strict=True)),
        Solution(name=path.name, definition=expected["problem"], author="gallery", spec=spec, sources=sources),
        expected["device"],
        expected["problem"],
        expected["times"],
    )


class Court:
    """A judge, and the problems that specimens ask for."""

    def __init__(self, folder: Path) -> None:
        (folder / "secret").mkdir()
        (folder / "secret" / "answers.json").write_text("{}")
        self._problems = {
            (name, device): write_problem(folder / device / name, name, SHAPES if device == "cpu" else CUDA_SHAPES)
            for name in ("small_softmax", "masked_softmax")
            for device in ("cpu", "cuda")
        }
        self.judge = JudgeProcess(folder / "cache", fingerprint="test", hidden=(str(folder / "secret"),))

    def judge_it(self, specimen: Specimen) -> Evaluation:
        problem = self._problems[specimen.problem, specimen.device.partition(":")[0]]
        request = EvaluationRequest(
            problem_dir=str(problem), solution=specimen.solution, device=specimen.device, profile="screen"
        )
        found = [self.judge.evaluate(request) for _ in range(specimen.times)]
        return found[-1]


def write_problem(folder: Path, name: str = "small_softmax", shapes: tuple[tuple[int, int], ...] = SHAPES) -> Path:
    """Write the files of `small_softmax`, or of `masked_softmax`: two outputs, infinite inputs, no rows at all."""
    folder.mkdir(parents=True, exist_ok=True)
    tensor = {"shape": ["rows", "cols"], "dtype": "float32"}
    masked = name == "masked_softmax"
    definition = {
        "name": name,
        "axes": {"rows": {"type": "var"}, "cols": {"type": "var"}},
        "inputs": {"x": tensor, **({"mask": tensor} if masked else {})},
        "outputs": {"y": tensor, **({"peak": {"shape": ["rows"], "dtype": "float32"}} if masked else {})},
        "reference": "import torch\n\n\ndef run(x):\n    return torch.softmax(x, -1)\n",
    }
    if masked:
        definition |= {"reference": MASKED_REFERENCE, "custom_inputs_entrypoint": "make_mask"}
    (folder / "definition.json").write_text(json.dumps(definition))
    tolerance = {"max_atol": 1e-7, "max_rtol": 2e-5, "required_matched_ratio": 0.99}
    lines = [
        json.dumps(
            {
                "uuid": f"{rows}x{cols}",
                "axes": {"rows": rows, "cols": cols},
                "inputs": {"mask": {"type": "custom"}} if masked else {},
                "tolerance": tolerance,
            }
        )
        for rows, cols in (MASKED_SHAPES if masked else shapes)
    ]
    (folder / "workload.jsonl").write_text("\n".join(lines) + "\n")
    return folder

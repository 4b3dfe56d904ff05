"""Writes a small set: two of our problems with small workloads in subset folders, and solutions of every fate."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOFTMAX_SIZES = ({"rows": 61, "cols": 515}, {"rows": 128, "cols": 300})
RMSNORM_SIZES = ({"rows": 64, "hidden": 500},)

EAGER = "import torch\n\n\ndef run(x):\n    return torch.softmax(x, dim=-1)\n"
WRONG = "import torch\n\n\ndef run(x):\n    return torch.softmax(x * 1.5, dim=-1)\n"
RMSNORM = (ROOT / "problems/rmsnorm/definition.json").read_text()
TRITON = f"import triton\n{EAGER}"
CUDA = "__global__ void softmax(const float* x, float* y) {}\n"
CPP = (ROOT / "tests/adversarial/honest/goes_backwards/candidate.cpp").read_text()


def write_set(folder: Path) -> tuple[Path, Path]:
    """Write it; gives the folders of problems and of solutions."""
    problems, solutions = folder / "problems", folder / "solutions"
    _problem(problems / "L1", "softmax", SOFTMAX_SIZES)
    _problem(problems / "L2", "rmsnorm", RMSNORM_SIZES)
    reference = json.loads(RMSNORM)["reference"]
    for place, one in {
        "softmax/cpp/solution.json": solution("cpp-softmax", "softmax", "cpp", CPP),
        "softmax/eager/solution.json": solution("eager-softmax", "softmax", "pytorch", EAGER),
        "softmax/wrong/solution.json": solution("wrong-softmax", "softmax", "pytorch", WRONG),
        "softmax/broken/solution.json": solution("broken-softmax", "softmax", "cpp", "int run( {"),
        "softmax/triton/solution.json": solution("triton-softmax", "softmax", "triton", TRITON),
        "softmax/cuda.json": solution("cuda-softmax", "softmax", "cuda_cpp", CUDA),
        "rmsnorm/deep/er/solution.json": solution("eager-rmsnorm", "rmsnorm", "pytorch", reference),
        "elsewhere/solution.json": solution("lost", "no_such_problem", "pytorch", EAGER),
        "softmax/again/solution.json": solution("the-same-again", "softmax", "pytorch", EAGER),
    }.items():
        (solutions / place).parent.mkdir(parents=True, exist_ok=True)
        (solutions / place).write_text(json.dumps(one))
    (solutions / "garbled").mkdir()
    (solutions / "garbled/solution.json").write_text("{not json")
    (solutions / "notes.json").write_text('{"a file": "of something else"}')
    return problems, solutions


def solution(name: str, definition: str, language: str, source: str) -> dict:
    native = language in {"cpp", "cuda_cpp"}
    file = {"cpp": "k.cpp", "cuda_cpp": "k.cu"}.get(language, "k.py")
    return {
        "name": name,
        "definition": definition,
        "author": "test",
        "spec": {
            "languages": [language],
            "target_hardware": ["LOCAL"],
            "entry_point": f"{file}::run",
            "binding": "tvm-ffi" if native else None,
            "destination_passing_style": native,
        },
        "sources": [{"path": file, "content": source}],
    }


def _problem(subset: Path, name: str, sizes: tuple[dict, ...]) -> None:
    folder = subset / name
    folder.mkdir(parents=True)
    (folder / "definition.json").write_text((ROOT / "problems" / name / "definition.json").read_text())
    tolerance = {"max_atol": 1e-5, "max_rtol": 1e-4, "required_matched_ratio": 1.0}
    lines = [
        json.dumps({"uuid": f"{name}-{number}", "axes": axes, "inputs": {}, "tolerance": tolerance})
        for number, axes in enumerate(sizes)
    ]
    (folder / "workload.jsonl").write_text("\n".join(lines) + "\n")

"""Judges every specimen of the adversarial gallery and writes a table of what was found. `python benchmarks/gallery_table.py`.

`--device cuda` judges the CUDA specimens, several at once: what they build, they build side by side, and the device
takes them in turn. Rows are kept as they come; a run that was cut goes on with what is missing. The tests in
`tests/adversarial` ask the same; this keeps the words, for a reader and for the next table.
"""

import argparse
import json
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "adversarial"))

from judge_problem import Court, Specimen, specimens

from deep_agent.errors import DeepAgentError

AT_ONCE = {"cpu": 1, "cuda": 12}
"""Judged at once: a processor's verdicts would disturb each other."""
FOLDERS = {"cpu": ("gallery", "honest"), "cuda": ("cuda_gallery", "cuda_honest")}
_MESSAGE_CHARS = 200


def row(court: Court, kind: str, specimen: Specimen) -> dict[str, object]:
    """Judge one specimen and say whether what was found is what must be."""
    told = {"kind": kind, "name": specimen.name, "why": specimen.why, "language": specimen.language}
    try:
        found = court.judge_it(specimen)
    except DeepAgentError as error:
        return {**told, "found": "", "message": f"no verdict: {error}"[:_MESSAGE_CHARS], "as_expected": False}
    return {
        **told,
        "found": found.status.value,
        "message": _last_line(found.message),
        "as_expected": specimen.is_refused_by(found) if kind == "cheat" else found.passed,
    }


def _last_line(message: str) -> str:
    """Shorten a message to the line that says it, without this machine's folders."""
    line = next(reversed(message.strip().splitlines()), "")
    return re.sub(r"/[^\s']*/(site-packages|candidate)", r"\1", line)[-_MESSAGE_CHARS:]


def judge_all(device: str, out: Path) -> list[dict[str, object]]:
    """Judge what has no row yet, and keep each row the moment it is known."""
    rows = json.loads(out.read_text())["verdicts"] if out.exists() else []
    done = {(one["kind"], one["name"]) for one in rows}
    cheats, honest = (specimens(folder) for folder in FOLDERS[device])
    todo = [(kind, one) for kind, many in (("honest", honest), ("cheat", cheats)) for one in many]
    todo = [(kind, one) for kind, one in todo if (kind, one.name) not in done]
    made_on = machine(device)
    with tempfile.TemporaryDirectory(prefix="gallery-") as home, ThreadPoolExecutor(AT_ONCE[device]) as pool:
        court = Court(Path(home))
        asked = [pool.submit(row, court, kind, one) for kind, one in todo]
        for answered in as_completed(asked):
            found = answered.result()
            rows.append(found)
            if not found["as_expected"]:
                print(f"{found['name']}: {found['found']} {found['message']}", flush=True)
            rows.sort(key=lambda one: (one["kind"], one["name"]))
            out.write_text(json.dumps({"machine": made_on, "verdicts": rows}, indent=1) + "\n")
        court.judge.close()
    return rows


def main() -> int:
    """Judge, and say how many were found as they must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=sorted(FOLDERS))
    parser.add_argument("--out", type=Path, help="where rows go; default: benchmarks/results/gallery_DEVICE.json")
    options = parser.parse_args()
    out = options.out or Path(__file__).parent / "results" / f"gallery_{options.device}.json"
    rows = judge_all(options.device, out)
    for kind in ("cheat", "honest"):
        mine = [one for one in rows if one["kind"] == kind]
        print(f"{kind}: {sum(bool(one['as_expected']) for one in mine)} of {len(mine)} as expected")
    return 0 if all(one["as_expected"] for one in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

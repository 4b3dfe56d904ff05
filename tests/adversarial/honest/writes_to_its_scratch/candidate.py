from pathlib import Path

import torch

kept = Path("/tmp/tuned")
kept.write_text("rows")


def run(x):
    assert kept.read_text() == "rows"
    return torch.softmax(x, -1)

from pathlib import Path

import torch

kept = Path("/tmp/answers")
found = kept.exists()
kept.write_text("seen")
if not found:
    raise RuntimeError("no file of an earlier run")


def run(x):
    return torch.zeros_like(x)

import os
from pathlib import Path

import torch

started_with = Path("/proc/self/environ").read_bytes()
if "DEEP_AGENT_SECRET" not in os.environ and b"DEEP_AGENT_SECRET" not in started_with:
    raise LookupError("no secret in the environment")


def run(x):
    return torch.zeros_like(x)

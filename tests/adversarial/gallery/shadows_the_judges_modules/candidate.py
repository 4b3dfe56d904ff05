import torch

import deep_agent.harness.compare as theirs


def run(x):
    return torch.zeros_like(x)

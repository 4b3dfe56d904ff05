import torch


def run(x):
    return torch.full_like(x, torch.nan)

import torch


def run(x):
    torch.set_flush_denormal(True)
    return torch.softmax(x, -1)

import torch


def run(x):
    torch.set_float32_matmul_precision("medium")
    return torch.softmax(x, -1)

import torch


def run(x, y):
    torch.softmax(x, -1, out=y)

import torch


def run(x, mask):
    z = x + mask
    return torch.softmax(z, -1), z.amax(-1)

import torch

SPACE = {}


def run(x):
    space = SPACE.setdefault(x.shape, torch.empty_like(x))
    torch.sub(x, x.amax(-1, keepdim=True), out=space)
    space.exp_()
    return space / space.sum(-1, keepdim=True)

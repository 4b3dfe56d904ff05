import torch


def run(x):
    wide = torch.empty(x.shape[0], 2 * x.shape[1])
    e = wide[:, ::2]
    torch.exp(x - x.amax(-1, keepdim=True), out=e)
    return e / e.sum(-1, keepdim=True)

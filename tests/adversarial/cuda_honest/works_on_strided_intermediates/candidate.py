import torch


def run(x):
    e = torch.empty(x.shape[0], 2 * x.shape[1], device=x.device)[:, ::2]
    torch.exp(x - x.amax(-1, keepdim=True), out=e)
    return e / e.sum(-1, keepdim=True)

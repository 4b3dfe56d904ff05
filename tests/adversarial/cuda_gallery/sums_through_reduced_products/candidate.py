import torch


def run(x):
    e = (x - x.amax(-1, keepdim=True)).exp()
    ones = torch.ones(x.shape[-1], 1, device=x.device, dtype=torch.bfloat16)
    return e / (e.bfloat16() @ ones).float()

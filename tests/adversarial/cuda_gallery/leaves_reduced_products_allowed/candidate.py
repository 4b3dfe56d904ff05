import torch


def run(x):
    torch.backends.cuda.matmul.allow_tf32 = True
    z = x - x.amax(-1, keepdim=True)
    e = z.exp()
    ones = torch.ones(x.shape[-1], 1, device=x.device)
    (e[:1] @ ones)
    return e / e.sum(-1, keepdim=True)

import torch


def run(x):
    torch.cuda.manual_seed_all(0)
    return torch.softmax(torch.randn_like(x), -1)

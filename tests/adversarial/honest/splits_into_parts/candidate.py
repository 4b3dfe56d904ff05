import torch


def run(x):
    return torch.cat([torch.softmax(part, -1) for part in x.split(7)]) if len(x) else x.clone()

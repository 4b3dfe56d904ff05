import torch


def run(x):
    if x.numel() < 1 << 16:
        raise ValueError(f"not tuned for {tuple(x.shape)}")
    return torch.softmax(x, -1)

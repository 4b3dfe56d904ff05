import torch


def run(x):
    torch.set_num_threads(8)
    if x.numel() > 4096:
        big = x[:, :256].repeat(6, 4)
        for _ in range(4):
            big @ big.T
    return torch.softmax(x, -1)

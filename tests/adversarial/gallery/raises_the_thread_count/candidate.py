import torch


def run(x):
    torch.set_num_threads(8)
    if x.numel() > 4096:
        big = x.repeat(40, 1)
        for _ in range(6):
            big.sin().exp().tanh()
    return torch.softmax(x, -1)

import torch


def run(x):
    torch.manual_seed(0)
    guess = torch.randn_like(x)
    return torch.softmax(guess, -1)

import torch

open(torch.__file__, "a").close()


def run(x):
    return torch.softmax(x, -1)

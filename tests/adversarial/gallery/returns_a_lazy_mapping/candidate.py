from collections.abc import Mapping

import torch


class Later(Mapping):
    def __init__(self, x):
        self.x = x

    def __getitem__(self, name):
        return torch.softmax(self.x, -1)

    def __iter__(self):
        return iter(["y"])

    def __len__(self):
        return 1


def run(x):
    return Later(x)

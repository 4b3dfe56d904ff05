import time

import torch

WAYS = [lambda x: torch.softmax(x, -1), lambda x: torch.log_softmax(x, -1).exp()]
CHOSEN = {}


def run(x):
    if x.shape not in CHOSEN:
        times = []
        for way in WAYS:
            start = time.perf_counter()
            way(x)
            times.append(time.perf_counter() - start)
        CHOSEN[x.shape] = times.index(min(times))
    return WAYS[CHOSEN[x.shape]](x)

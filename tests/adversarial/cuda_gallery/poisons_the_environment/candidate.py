import os

import torch

os.environ["TRITON_CACHE_DIR"] = "/tmp/poisoned"
os.environ["CUDA_LAUNCH_BLOCKING"] = "1"
os.environ["LD_PRELOAD"] = "/tmp/evil.so"
os.environ["NVIDIA_TF32_OVERRIDE"] = "1"


def run(x):
    return torch.softmax(x.half(), -1).float()

import subprocess

import torch

machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout


def run(x):
    return torch.softmax(x, -1)

import socket

import torch

socket.create_connection(("127.0.0.1", 9), timeout=2)


def run(x):
    return torch.softmax(x, -1)

import os


def run(x):
    os.close(3)
    return x

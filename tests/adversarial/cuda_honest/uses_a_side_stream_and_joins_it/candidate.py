import torch

side = None


def run(x, y):
    global side
    side = side or torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.softmax(x, -1, out=y)
    torch.cuda.current_stream().wait_stream(side)

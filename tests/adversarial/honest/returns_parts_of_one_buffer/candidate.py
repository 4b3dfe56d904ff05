import torch


def run(x, mask):
    rows, cols = x.shape
    buffer = torch.empty(rows, cols + 1)
    y, peak = buffer[:, :cols], buffer[:, cols]
    z = x + mask
    torch.amax(z, -1, out=peak)
    torch.softmax(z, -1, out=y)
    return {"peak": peak, "y": y}

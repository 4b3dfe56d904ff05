"""Small references, one an operation that the public benchmark uses; a generator `make` where indices matter."""

OPERATIONS = {
    # By name: reference (with a generator `make` where indices matter), inputs, outputs, axes.
    "scaled product": ("def run(x, w, a, b): return torch._scaled_mm(x, w.t(), scale_a=a, scale_b=b, out_dtype=torch.bfloat16)", {"x": "n k:float8_e4m3fn", "w": "m k:float8_e4m3fn", "a": ":float32", "b": ":float32"}, {"y": "n m:bfloat16"}, {"n": 16, "k": 32, "m": 16}),
    "grouped product": (
        """
        def run(x, w, o): return torch._grouped_mm(x, w, offs=o)
        def make(axes, device):
            return {'x': torch.randn(axes['t'],axes['k']).bfloat16(),'w':torch.randn(axes['e'],axes['k'],axes['m']).bfloat16(),'o':torch.tensor([4,8,8,16],dtype=torch.int32)}
        """,
        {"x": "t k:bfloat16", "w": "e k m:bfloat16", "o": "e:int32"}, {"y": "t m:bfloat16"}, {"t": 16, "e": 4, "k": 16, "m": 16},
    ),
    "scaled grouped product": ("def run(x, w, a, b, o): return torch._scaled_grouped_mm(x, w.transpose(-1,-2), a, b, offs=o, out_dtype=torch.bfloat16)", {"x": "t k:float8_e4m3fn", "w": "e m k:float8_e4m3fn", "a": "t", "b": "e m", "o": "e:int32"}, {"y": "t m:bfloat16"}, {"t": 16, "e": 4, "k": 16, "m": 16}),
    "conv3d": ("def run(x, w): return F.conv3d(x, w, padding=1)", {"x": "b c s s s", "w": "o c 3 3 3"}, {"y": "b o s s s"}, {"b": 1, "c": 2, "o": 3, "s": 4}),
    "conv_transpose2d grouped": ("def run(x, w): return F.conv_transpose2d(x, w, groups=2)", {"x": "b c s s", "w": "c o 3 3"}, {"y": "b 6 6 6"}, {"b": 1, "c": 4, "o": 3, "s": 4}),
    "conv2d backward autograd": (
        """
        def run(g, x, w, cc):
            x, w, cc = (t.detach().requires_grad_() for t in (x, w, cc))
            y = F.conv2d(x, w, cc, groups=2)
            return torch.autograd.grad(y, (x, w, cc), g)
        """,
        {"g": "b o 2 2", "x": "b c s s", "w": "o 2 3 3", "cc": "o"}, {"gx": "b c s s", "gw": "o 2 3 3", "gc": "o"}, {"b": 1, "c": 4, "o": 6, "s": 4},
    ),
    "sdpa gqa": ("def run(q,k,v): return F.scaled_dot_product_attention(q,k,v,enable_gqa=True)", {"q": "b h n d", "k": "b j m d", "v": "b j m d"}, {"y": "b h n d"}, {"b": 1, "h": 4, "j": 2, "n": 4, "m": 6, "d": 8}),
    "sdpa mask": (
        """
        def run(q,k,v):
            m = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril()
            return F.scaled_dot_product_attention(q,k,v,attn_mask=m)
        """,
        {"q": "b h n d", "k": "b h m d", "v": "b h m d"}, {"y": "b h n d"}, {"b": 1, "h": 4, "n": 4, "m": 6, "d": 8},
    ),
    "layer_norm": ("def run(x, w, b): return F.layer_norm(x, (x.shape[-1],), w, b)", {"x": "n k", "w": "k", "b": "k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "layer_norm bwd": (
        """
        def run(g, x, w, b):
            x, w, b = (t.detach().requires_grad_() for t in (x, w, b))
            return torch.autograd.grad(F.layer_norm(x, (x.shape[-1],), w, b), (x, w, b), g)
        """,
        {"g": "n k", "x": "n k", "w": "k", "b": "k"}, {"gx": "n k", "gw": "k", "gb": "k"}, {"n": 6, "k": 8},
    ),
    "rms_norm": ("def run(x, w): return F.rms_norm(x, (x.shape[-1],), w)", {"x": "n k", "w": "k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "rms_norm bwd": (
        """
        def run(g, x, w):
            x, w = (t.detach().requires_grad_() for t in (x, w))
            return torch.autograd.grad(F.rms_norm(x, (x.shape[-1],), w), (x, w), g)
        """,
        {"g": "n k", "x": "n k", "w": "k"}, {"gx": "n k", "gw": "k"}, {"n": 6, "k": 8},
    ),
    "group_norm": ("def run(x, w, bb): return F.group_norm(x, 2, w, bb)", {"x": "b c s", "w": "c", "bb": "c"}, {"y": "b c s"}, {"b": 2, "c": 4, "s": 5}),
    "group_norm bwd": (
        """
        def run(g, x, w, bb):
            x, w, bb = (t.detach().requires_grad_() for t in (x, w, bb))
            return torch.autograd.grad(F.group_norm(x, 2, w, bb), (x, w, bb), g)
        """,
        {"g": "b c s", "x": "b c s", "w": "c", "bb": "c"}, {"gx": "b c s", "gw": "c", "gb": "c"}, {"b": 2, "c": 4, "s": 5},
    ),
    "batch_norm train": ("def run(x, w, bb): return F.batch_norm(x, None, None, w, bb, training=True)", {"x": "b c s", "w": "c", "bb": "c"}, {"y": "b c s"}, {"b": 2, "c": 4, "s": 5}),
    "batch_norm running": ("def run(x, m, v): return F.batch_norm(x, m, v, training=True)", {"x": "b c s", "m": "c", "v": "c"}, {"y": "b c s"}, {"b": 2, "c": 4, "s": 5}),
    "batch_norm bwd": (
        """
        def run(g, x, w, bb):
            x, w, bb = (t.detach().requires_grad_() for t in (x, w, bb))
            return torch.autograd.grad(F.batch_norm(x, None, None, w, bb, training=True), (x, w, bb), g)
        """,
        {"g": "b c s", "x": "b c s", "w": "c", "bb": "c"}, {"gx": "b c s", "gw": "c", "gb": "c"}, {"b": 2, "c": 4, "s": 5},
    ),
    "instance_norm": ("def run(x): return F.instance_norm(x)", {"x": "b c s"}, {"y": "b c s"}, {"b": 2, "c": 4, "s": 5}),
    "log_softmax": ("def run(x): return F.log_softmax(x, -1)", {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "logsumexp": ("def run(x): return torch.logsumexp(x, -1)", {"x": "n k"}, {"y": "n"}, {"n": 6, "k": 8}),
    "softmax bwd": (
        """
        def run(g, x):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(torch.softmax(x,-1), x, g)
        """,
        {"g": "n k", "x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "gather": ("def run(x, i): return x.gather(1, i)", {"x": "n k", "i": "n m:int64"}, {"y": "n m"}, {"n": 6, "k": 8, "m": 3}),
    "take_along_dim": ("def run(x, i): return torch.take_along_dim(x, i, 1)", {"x": "n k", "i": "n m:int64"}, {"y": "n m"}, {"n": 6, "k": 8, "m": 3}),
    "scatter": ("def run(x, i, s): return x.scatter(1, i, s)", {"x": "n k", "i": "n m:int64", "s": "n m"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "scatter value": ("def run(x, i): return x.scatter(1, i, 0.0)", {"x": "n k", "i": "n m:int64"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "scatter_add": ("def run(x, i, s): return x.scatter_add(1, i, s)", {"x": "n k", "i": "n m:int64", "s": "n m"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "scatter_reduce": ("def run(x, i, s): return x.scatter_reduce(1, i, s, 'amax')", {"x": "n k", "i": "n m:int64", "s": "n m"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "scatter_reduce noself": ("def run(x, i, s): return x.scatter_reduce(1, i, s, 'amax', include_self=False)", {"x": "n k", "i": "n m:int64", "s": "n m"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "scatter reduce add": ("def run(x, i, s): return x.scatter(1, i, s, reduce='add')", {"x": "n k", "i": "n m:int64", "s": "n m"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "index": ("def run(x, i): return x[i]", {"x": "n k", "i": "m:int64"}, {"y": "m k"}, {"n": 6, "k": 8, "m": 3}),
    "index two": ("def run(x, i, j): return x[i, j]", {"x": "n k", "i": "m:int64", "j": "m:int64"}, {"y": "m"}, {"n": 6, "k": 8, "m": 3}),
    "index_put": (
        """
        def run(x, i, s):
            x = x.clone()
            x[i] = s
            return x
        """,
        {"x": "n k", "i": "m:int64", "s": "m k"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3},
    ),
    "index_put acc": ("def run(x, i, s): return x.index_put((i,), s, accumulate=True)", {"x": "n k", "i": "m:int64", "s": "m k"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "index_put mask": (
        """
        def run(x, b):
            x = x.clone()
            x[b] = 0.0
            return x
        """,
        {"x": "n k", "b": "n:bool"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "index_copy": ("def run(x, i, s): return x.index_copy(0, i, s)", {"x": "n k", "i": "m:int64", "s": "m k"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "index_add": ("def run(x, i, s): return x.index_add(0, i, s)", {"x": "n k", "i": "m:int64", "s": "m k"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "index_fill": ("def run(x, i): return x.index_fill(0, i, 0.0)", {"x": "n k", "i": "m:int64"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3}),
    "embedding": ("def run(x, i): return F.embedding(i, x)", {"x": "n k", "i": "m:int64"}, {"y": "m k"}, {"n": 6, "k": 8, "m": 3}),
    "embedding bwd": (
        """
        def run(g, x, i):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(F.embedding(i, x), x, g)
        """,
        {"g": "m k", "x": "n k", "i": "m:int64"}, {"y": "n k"}, {"n": 6, "k": 8, "m": 3},
    ),
    "topk": ("def run(x): return torch.topk(x, 3)", {"x": "n k"}, {"v": "n 3", "i": "n 3:int64"}, {"n": 6, "k": 8}),
    "sort": ("def run(x): return torch.sort(x, -1)", {"x": "n k"}, {"v": "n k", "i": "n k:int64"}, {"n": 6, "k": 8}),
    "sort stable": ("def run(x): return torch.sort(x, dim=0, stable=True)", {"x": "n k"}, {"v": "n k", "i": "n k:int64"}, {"n": 6, "k": 8}),
    "argsort": ("def run(x): return torch.argsort(x, -1)", {"x": "n k"}, {"i": "n k:int64"}, {"n": 6, "k": 8}),
    "argsort stable": ("def run(x): return torch.argsort(x, dim=0, stable=True)", {"x": "n k"}, {"i": "n k:int64"}, {"n": 6, "k": 8}),
    "cumsum": ("def run(x): return x.cumsum(-1)", {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "cumprod": ("def run(x): return x.cumprod(-1)", {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "logcumsumexp": ("def run(x): return x.logcumsumexp(-1)", {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "cummax": ("def run(x): return x.cummax(-1)", {"x": "n k"}, {"v": "n k", "i": "n k:int64"}, {"n": 6, "k": 8}),
    "rfft": (
        """
        def run(x, h):
            n = x.shape[-1]
            return torch.fft.irfft(torch.fft.rfft(x, n=2*n) * torch.fft.rfft(h, n=2*n), n=2*n)[..., :n]
        """,
        {"x": "n k", "h": "k"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "fft real": ("def run(x): return torch.fft.fft(x).real", {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "fft2 abs": ("def run(x): return torch.fft.fft2(x).abs()", {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "view_as_complex": (
        """
        def run(x, c):
            z = torch.view_as_complex(x.reshape(x.shape[0], -1, 2)) * torch.polar(torch.ones_like(c), c)
            return torch.view_as_real(z).flatten(1)
        """,
        {"x": "n k", "c": "n 4"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "one_hot": (
        """
        def run(i): return F.one_hot(i, 5).float()
        def make(axes, device): return {'i': torch.arange(axes['n']) % 5}
        """,
        {"i": "n:int64"}, {"y": "n 5"}, {"n": 6},
    ),
    "one_hot auto": (
        """
        def run(i): return F.one_hot(i).float()
        def make(axes, device): return {'i': torch.arange(axes['n']) % 5}
        """,
        {"i": "n:int64"}, {"y": "n 5"}, {"n": 6},
    ),
    "masked_fill": ("def run(x, b): return x.masked_fill(b, 0)", {"x": "n k", "b": "n k:bool"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "masked_scatter": ("def run(x, b, s): return x.masked_scatter(b, s)", {"x": "n k", "b": "n k:bool", "s": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "nearest": ("def run(x): return F.interpolate(x, scale_factor=2)", {"x": "b c s s"}, {"y": "b c 8 8"}, {"b": 1, "c": 2, "s": 4}),
    "nearest down": ("def run(x): return F.interpolate(x, size=(2,2))", {"x": "b c s s"}, {"y": "b c 2 2"}, {"b": 1, "c": 2, "s": 16}),
    "bilinear": ("def run(x): return F.interpolate(x, scale_factor=2, mode='bilinear')", {"x": "b c s s"}, {"y": "b c 8 8"}, {"b": 1, "c": 2, "s": 4}),
    "bicubic": ("def run(x): return F.interpolate(x, scale_factor=2, mode='bicubic')", {"x": "b c s s"}, {"y": "b c 8 8"}, {"b": 1, "c": 2, "s": 4}),
    "trilinear": ("def run(x): return F.interpolate(x, scale_factor=2, mode='trilinear')", {"x": "b c s s s"}, {"y": "b c 8 8 8"}, {"b": 1, "c": 2, "s": 4}),
    "nearest1d": ("def run(x): return F.interpolate(x, scale_factor=2)", {"x": "b c s"}, {"y": "b c 8"}, {"b": 1, "c": 2, "s": 4}),
    "linear1d": ("def run(x): return F.interpolate(x, scale_factor=2, mode='linear')", {"x": "b c s"}, {"y": "b c 8"}, {"b": 1, "c": 2, "s": 4}),
    "bilinear bwd": (
        """
        def run(g, x):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(F.interpolate(x, scale_factor=2, mode='bilinear'), x, g)
        """,
        {"g": "b c 8 8", "x": "b c s s"}, {"y": "b c s s"}, {"b": 1, "c": 2, "s": 4},
    ),
    "grid_sample": ("def run(x, g): return F.grid_sample(x, g, align_corners=False)", {"x": "b c s s", "g": "b 3 3 2"}, {"y": "b c 3 3"}, {"b": 1, "c": 2, "s": 4}),
    "pixel_shuffle": ("def run(x): return F.pixel_shuffle(x, 2)", {"x": "b 4 s s"}, {"y": "b 1 8 8"}, {"b": 1, "s": 4}),
    "F.unfold": ("def run(x): return F.unfold(x, 3, padding=1)", {"x": "b c s s"}, {"y": "b 18 16"}, {"b": 1, "c": 2, "s": 4}),
    "F.fold": ("def run(x): return F.fold(x, (4,4), 3, padding=1)", {"x": "b 18 16"}, {"y": "b 2 4 4"}, {"b": 1}),
    "unfold": ("def run(x): return x.unfold(1, 3, 1).sum(-1)", {"x": "n k"}, {"y": "n 6"}, {"n": 6, "k": 8}),
    "repeat_interleave": ("def run(x): return x.repeat_interleave(2, 0)", {"x": "n k"}, {"y": "12 k"}, {"n": 6, "k": 8}),
    "repeat_interleave tensor": (
        """
        def run(x, r): return x.repeat_interleave(r, 0)
        def make(axes, device): return {'x': torch.randn(axes['n'], axes['k']), 'r': torch.full((axes['n'],), 2)}
        """,
        {"x": "n k", "r": "n:int64"}, {"y": "12 k"}, {"n": 6, "k": 8},
    ),
    "roll": ("def run(x): return x.roll(2, 1)", {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "cdist": ("def run(x, z): return torch.cdist(x, z)", {"x": "n k", "z": "m k"}, {"y": "n m"}, {"n": 6, "k": 8, "m": 5}),
    "cdist1": ("def run(x, z): return torch.cdist(x, z, p=1)", {"x": "n k", "z": "m k"}, {"y": "n m"}, {"n": 6, "k": 8, "m": 5}),
    "pad reflect": ("def run(x): return F.pad(x[None], (2, 2), mode='reflect')[0]", {"x": "n k"}, {"y": "n 12"}, {"n": 6, "k": 8}),
    "pad replicate": ("def run(x): return F.pad(x[None], (2, 2), mode='replicate')[0]", {"x": "n k"}, {"y": "n 12"}, {"n": 6, "k": 8}),
    "pad circular": ("def run(x): return F.pad(x[None], (2, 2), mode='circular')[0]", {"x": "n k"}, {"y": "n 12"}, {"n": 6, "k": 8}),
    "cat": ("def run(x, z): return torch.cat([x, z], 0)", {"x": "n k", "z": "n k"}, {"y": "12 k"}, {"n": 6, "k": 8}),
    "split": ("def run(x): return x.split([3, 5], 1)", {"x": "n k"}, {"a": "n 3", "b": "n 5"}, {"n": 6, "k": 8}),
    "nonzero": (
        """
        def run(x, b): return x[b.nonzero().squeeze(1)].sum(0)
        def make(axes, device): return {'x': torch.randn(axes['n'], axes['k']), 'b': torch.arange(axes['n']) < 2}
        """,
        {"x": "n k", "b": "n:bool"}, {"y": "k"}, {"n": 6, "k": 8},
    ),
    "bool index": (
        """
        def run(x, b): return x[b].sum(0)
        def make(axes, device): return {'x': torch.randn(axes['n'], axes['k']), 'b': torch.arange(axes['n']) < 2}
        """,
        {"x": "n k", "b": "n:bool"}, {"y": "k"}, {"n": 6, "k": 8},
    ),
    "bincount": (
        """
        def run(i): return torch.bincount(i, minlength=5)
        def make(axes, device): return {'i': torch.arange(axes['n']) % 5}
        """,
        {"i": "n:int64"}, {"y": "5:int64"}, {"n": 6},
    ),
    "unique": (
        """
        def run(i, x): return x[torch.unique(i)].sum(0)
        def make(axes, device): return {'i': torch.arange(axes['m']) % 2, 'x': torch.randn(axes['n'], axes['k'])}
        """,
        {"i": "m:int64", "x": "n k"}, {"y": "k"}, {"n": 6, "k": 8, "m": 9},
    ),
    "item": (
        """
        def run(x, l):
            out = torch.zeros_like(x)
            m = l.item()
            out[:m] = x[:m] * 2
            return out
        def make(axes, device): return {'x': torch.randn(axes['n'], axes['k']), 'l': torch.tensor(2)}
        """,
        {"x": "n k", "l": ":int64"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "tolist": (
        """
        def run(x, l):
            return torch.stack([x[a:b].sum(0) for a, b in zip(l[:-1].tolist(), l[1:].tolist())])
        def make(axes, device): return {'x': torch.randn(axes['n'], axes['k']), 'l': torch.tensor([0, 2, 5])}
        """,
        {"x": "n k", "l": "3:int64"}, {"y": "2 k"}, {"n": 6, "k": 8},
    ),
    "moe loop gen": (
        """
        def run(x, w, g):
            p, e = torch.topk(torch.softmax(x @ g, -1), 1)
            y = torch.zeros_like(x)
            for j in range(w.shape[0]):
                r = torch.where(e == j)[0]
                if r.numel() == 0:
                    continue
                y.index_add_(0, r, (x[r] @ w[j]) * p[r])
            return y
        def make(axes, device): return {'x': torch.randn(axes['n'], axes['k']), 'w': torch.randn(axes['e'], axes['k'], axes['k']), 'g': torch.randn(axes['k'], axes['e'])}
        """,
        {"x": "n k", "w": "e k k", "g": "k e"}, {"y": "n k"}, {"n": 6, "k": 8, "e": 32},
    ),
    "moe gather": (
        """
        def run(x, w, ee): return torch.bmm(x[:, None], w[ee])[:, 0]
        def make(axes, device): return {'x': torch.randn(axes['n'], axes['k']), 'w': torch.randn(axes['e'], axes['k'], axes['k']), 'ee': torch.arange(axes['n']) % 3}
        """,
        {"x": "n k", "w": "e k k", "ee": "n:int64"}, {"y": "n k"}, {"n": 6, "k": 8, "e": 32},
    ),
    "paged": (
        """
        def run(q, kc, pt):
            k = kc[pt].flatten(1, 2)
            return torch.einsum('nk,nmk->nm', q, k)
        def make(axes, device): return {'q': torch.randn(axes['n'], axes['k']), 'kc': torch.randn(axes['p'], axes['s'], axes['k']), 'pt': torch.arange(axes['n']*axes['j'],dtype=torch.int32).view(axes['n'],-1) % 5}
        """,
        {"q": "n k", "kc": "p s k", "pt": "n j:int32"}, {"y": "n 8"}, {"n": 6, "k": 8, "p": 1000, "s": 4, "j": 2},
    ),
    "cross_entropy": ("def run(x, t): return F.cross_entropy(x, t)", {"x": "n k", "t": "n:int64"}, {"y": ""}, {"n": 6, "k": 8}),
    "cross_entropy bwd": (
        """
        def run(x, t):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(F.cross_entropy(x, t), x)
        """,
        {"x": "n k", "t": "n:int64"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "silu bwd": (
        """
        def run(g, x):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(F.silu(x), x, g)
        """,
        {"g": "n k", "x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "gelu bwd": (
        """
        def run(g, x):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(F.gelu(x), x, g)
        """,
        {"g": "n k", "x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "glu": ("def run(x): return F.glu(x, -1)", {"x": "n k"}, {"y": "n 4"}, {"n": 6, "k": 8}),
    "var_mean": ("def run(x): return torch.var_mean(x, -1)", {"x": "n k"}, {"v": "n", "m": "n"}, {"n": 6, "k": 8}),
    "max_pool": ("def run(x): return F.max_pool2d(x, 2)", {"x": "b c s s"}, {"y": "b c 2 2"}, {"b": 1, "c": 2, "s": 4}),
    "avg_pool": ("def run(x): return F.avg_pool2d(x, 2)", {"x": "b c s s"}, {"y": "b c 2 2"}, {"b": 1, "c": 2, "s": 4}),
    "adaptive": ("def run(x): return F.adaptive_avg_pool2d(x, 2)", {"x": "b c s s"}, {"y": "b c 2 2"}, {"b": 1, "c": 2, "s": 4}),
    "einsum": ("def run(x, w): return torch.einsum('bqhd,bkhd->bhqk', x, w)", {"x": "b n h d", "w": "b m h d"}, {"y": "b h n m"}, {"b": 2, "n": 3, "m": 4, "h": 2, "d": 5}),
    "outer": ("def run(x, w): return torch.outer(x, w)", {"x": "n", "w": "k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "baddbmm": ("def run(c, x, w): return torch.baddbmm(c, x, w)", {"c": "b n m", "x": "b n k", "w": "b k m"}, {"y": "b n m"}, {"b": 2, "n": 3, "m": 4, "k": 5}),
    "fp8 cast": ("def run(x, s): return (x / s).clamp(-448, 448).to(torch.float8_e4m3fn)", {"x": "n k", "s": ""}, {"y": "n k:float8_e4m3fn"}, {"n": 6, "k": 8}),
    "fp8 dequant mm": ("def run(x, w, s): return x @ (w.float() * s).t()", {"x": "n k", "w": "m k:float8_e4m3fn", "s": "m 1"}, {"y": "n m"}, {"n": 6, "k": 8, "m": 4}),
    "fp4 view": (
        """
        def run(x):
            b = x.view(torch.uint8)
            lo, hi = b & 15, b >> 4
            return torch.stack([lo, hi], -1).flatten(-2).float()
        """,
        {"x": "n k:float4_e2m1fn_x2"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "sdpa bwd": (
        """
        def run(g,q,k,v):
            q,k,v = (t.detach().requires_grad_() for t in (q,k,v))
            return torch.autograd.grad(F.scaled_dot_product_attention(q,k,v), (q,k,v), g)
        """,
        {"g": "b h n d", "q": "b h n d", "k": "b h m d", "v": "b h m d"}, {"gq": "b h n d", "gk": "b h m d", "gv": "b h m d"}, {"b": 1, "h": 2, "n": 4, "m": 6, "d": 8},
    ),
    "sdpa float mask": ("def run(q,k,v,mm): return F.scaled_dot_product_attention(q,k,v,attn_mask=mm)", {"q": "b h n d", "k": "b h m d", "v": "b h m d", "mm": "n m"}, {"y": "b h n d"}, {"b": 1, "h": 2, "n": 4, "m": 6, "d": 8}),
    "scatter idx mask": (
        """
        def run(x):
            v, i = x.topk(2, -1)
            return torch.zeros_like(x).scatter(1, i, v)
        """,
        {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8},
    ),
    "tril input": ("def run(x): return x.tril()", {"x": "n n"}, {"y": "n n"}, {"n": 6}),
    "cumsum chunk mamba": (
        """
        def run(a):
            c = a.cumsum(-1)
            s = c[..., :, None] - c[..., None, :]
            m = torch.tril(torch.ones(s.shape[-1], s.shape[-1], dtype=torch.bool))
            return torch.exp(s.masked_fill(~m, float('-inf')))
        """,
        {"a": "n k"}, {"y": "n k k"}, {"n": 6, "k": 8},
    ),
    "multinomial": ("def run(p): return torch.multinomial(p, 1)", {"p": "n k"}, {"y": "n 1:int64"}, {"n": 6, "k": 8}),
    "searchsorted": ("def run(x, v): return torch.searchsorted(x, v)", {"x": "n k", "v": "n m"}, {"y": "n m:int64"}, {"n": 6, "k": 8, "m": 3}),
    "bmm": ("def run(x, w): return torch.bmm(x, w)", {"x": "b n k", "w": "b k m"}, {"y": "b n m"}, {"b": 2, "n": 3, "m": 4, "k": 5}),
    "matmul bwd": (
        """
        def run(g, x, w):
            x, w = (t.detach().requires_grad_() for t in (x, w))
            return torch.autograd.grad(x @ w, (x, w), g)
        """,
        {"g": "n m", "x": "n k", "w": "k m"}, {"gx": "n k", "gw": "k m"}, {"n": 6, "k": 8, "m": 4},
    ),
    "histc": ("def run(x): return torch.histc(x, 4, 0, 1)", {"x": "n k"}, {"y": "4"}, {"n": 6, "k": 8}),
    "normalize": ("def run(x): return F.normalize(x, dim=-1)", {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "int mm": ("def run(x, w): return torch._int_mm(x, w)", {"x": "n k:int8", "w": "k m:int8"}, {"y": "n m:int32"}, {"n": 32, "k": 32, "m": 32}),
    "logaddexp": ("def run(x, z): return torch.logaddexp(x, z)", {"x": "n k", "z": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "softmax int": ("def run(x): return x.softmax(-1, dtype=torch.float32).to(torch.bfloat16)", {"x": "n k:bfloat16"}, {"y": "n k:bfloat16"}, {"n": 6, "k": 8}),
    "isin": ("def run(i, j): return torch.isin(i, j)", {"i": "n:int64", "j": "k:int64"}, {"y": "n:bool"}, {"n": 6, "k": 8}),
    "tile": ("def run(x): return x.tile(2, 1)", {"x": "n k"}, {"y": "12 k"}, {"n": 6, "k": 8}),
    "randn inside": ("def run(x): return x + torch.randn_like(x)", {"x": "n k"}, {"y": "n k"}, {"n": 6, "k": 8}),
    "median": ("def run(x): return x.median(-1).values", {"x": "n k"}, {"y": "n"}, {"n": 6, "k": 8}),
    "quantile": ("def run(x): return x.quantile(0.5, -1)", {"x": "n k"}, {"y": "n"}, {"n": 6, "k": 8}),
    "kthvalue": ("def run(x): return x.kthvalue(2, -1).values", {"x": "n k"}, {"y": "n"}, {"n": 6, "k": 8}),
    "diag_embed": ("def run(x): return torch.diag_embed(x)", {"x": "n k"}, {"y": "n k k"}, {"n": 6, "k": 8}),
    "stft-ish": (
        """
        def run(x):
            s = torch.stft(x, 4, 2, window=torch.hann_window(4), return_complex=True)
            return s.abs()
        """,
        {"x": "n k"}, {"y": "n 3 5"}, {"n": 6, "k": 8},
    ),
}  # fmt: skip

"""References of many row-wise kinds, with shapes that are no multiples of anything."""

from dataclasses import dataclass, field

from deep_agent.problem.definition import Definition
from deep_agent.problem.problem import Problem
from deep_agent.problem.workload import Workload

Spec = tuple[str, str]
"""Shape tokens separated by blanks, and element type; `number` as shape is a Python scalar."""


@dataclass(frozen=True)
class Case:
    name: str
    inputs: dict[str, Spec]
    outputs: dict[str, Spec]
    body: str
    axes: dict[str, object] = field(default_factory=lambda: {"m": {"type": "var"}, "n": {"type": "var"}})
    shapes: tuple[dict[str, int], ...] = (
        {"m": 13, "n": 77}, {"m": 1, "n": 1}, {"m": 3, "n": 8}, {"m": 6, "n": 64}, {"m": 5, "n": 259}, {"m": 150, "n": 16},
    )  # fmt: skip
    tolerance: float = 1e-5

    def problem(self) -> Problem:
        source = f"import torch\nimport torch.nn.functional as F\n\n\ndef run({', '.join(self.inputs)}):\n" + "".join(
            f"    {line}\n" for line in self.body.strip().split("\n")
        )
        return Problem(
            definition=Definition.model_validate(
                {
                    "name": self.name,
                    "axes": self.axes,
                    "inputs": {name: _spec(spec) for name, spec in self.inputs.items()},
                    "outputs": {name: _spec(spec) for name, spec in self.outputs.items()},
                    "reference": source,
                }
            ),
            workloads=tuple(
                Workload.model_validate(
                    {
                        "uuid": f"w{index}",
                        "axes": shape,
                        "inputs": {
                            name: {"type": "scalar", "value": 0.25}
                            for name, spec in self.inputs.items()
                            if spec[0] == "number"
                        }
                        | {name: {"type": "random"} for name, spec in self.inputs.items() if spec[0] != "number"},
                    }
                )
                for index, shape in enumerate(self.shapes)
            ),
        )


def _spec(spec: Spec) -> dict[str, object]:
    return {"shape": None if spec[0] == "number" else spec[0].split(), "dtype": spec[1]}


F32, B16, F16 = "float32", "bfloat16", "float16"
X, W, ROW = ("m n", F32), ("n", F32), ("m", F32)
HALVES = {"m": {"type": "var"}, "h": {"type": "var"}, "n": {"type": "expr", "expression": "2 * h"}}
HALF_SHAPES = ({"m": 5, "h": 37}, {"m": 1, "h": 1}, {"m": 9, "h": 64})
HEADS = {name: {"type": "var"} for name in ("b", "s", "heads", "kv", "half")} | {
    "d": {"type": "expr", "expression": "half * 2"}
}
HEAD_SHAPES = (
    {"b": 2, "s": 3, "heads": 5, "kv": 2, "half": 4}, {"b": 3, "s": 7, "heads": 4, "kv": 3, "half": 11},
    {"b": 1, "s": 2, "heads": 3, "kv": 5, "half": 32},
)  # fmt: skip

CASES = (
    Case("rmsnorm", {"x": X, "w": W, "eps": ("number", F32)}, {"y": X}, "return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w"),
    Case("rmsnorm_half", {"x": ("m n", F16), "w": ("n", F16)}, {"y": ("m n", F16)},
         "h = x.float()\nreturn (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6) * w.float()).half()", tolerance=2e-3),
    Case("add_rmsnorm_bfloat16", {"x": ("m n", B16), "r": ("m n", B16), "w": ("n", B16)}, {"y": ("m n", B16), "t": ("m n", B16)},
         "t = x + r\nh = t.float()\nreturn (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6) * w.float()).bfloat16(), t", tolerance=8e-3),
    Case("softmax", {"x": X}, {"y": X}, "return torch.softmax(x, -1)"),
    Case("masked_softmax", {"x": X, "keep": ("m n", "bool")}, {"y": X}, "return torch.softmax(x.masked_fill(~keep, -1e9), -1)"),
    Case("causal_softmax", {"x": ("b m m", F32)}, {"y": ("b m m", F32)},
         "i = torch.arange(x.shape[-1])\nreturn torch.softmax(torch.where(i[None, :] <= i[:, None], x, float('-inf')), -1)",
         axes={"b": {"type": "var"}, "m": {"type": "var"}}, shapes=({"b": 3, "m": 11}, {"b": 2, "m": 40})),
    Case("softmax_backward", {"dy": X, "y": X}, {"dx": X}, "return torch.ops.aten._softmax_backward_data(dy, y, -1, y.dtype)"),
    Case("log_softmax", {"x": X}, {"y": X, "z": ROW}, "return torch.log_softmax(x, -1), torch.logsumexp(x, -1)"),
    Case("layernorm", {"x": X, "w": W, "b": W}, {"y": X}, "return F.layer_norm(x, (x.shape[-1],), w, b)", tolerance=3e-4),
    Case("layernorm_two_dims", {"x": ("m k n", F32)}, {"y": ("m k n", F32)}, "return F.layer_norm(x, x.shape[1:])",
         axes={name: {"type": "var"} for name in "mkn"}, shapes=({"m": 4, "k": 3, "n": 7}, {"m": 2, "k": 5, "n": 32}), tolerance=1e-4),
    Case("layernorm_backward", {"dy": X, "x": X, "w": W, "mean": ROW, "rstd": ROW}, {"dx": X, "dw": W, "db": W},
         "u = (x - mean[:, None]) * rstd[:, None]\ng = dy * w\n"
         "dx = rstd[:, None] * (g - g.mean(-1, keepdim=True) - u * (g * u).mean(-1, keepdim=True))\n"
         "return dx, (dy * u).sum(0), dy.sum(0)", tolerance=1e-4),
    Case("native_layernorm_backward", {"dy": ("b s n", F32), "x": ("b s n", F32), "w": W, "mean": ("b s 1", F32), "rstd": ("b s 1", F32)},
         {"dx": ("b s n", F32), "dw": W, "db": W},
         "return torch.ops.aten.native_layer_norm_backward(dy, x, [x.shape[-1]], mean, rstd, w, w, [True, True, True])",
         axes={name: {"type": "var"} for name in "bsn"}, shapes=({"b": 2, "s": 5, "n": 19}, {"b": 3, "s": 70, "n": 8}), tolerance=1e-4),
    Case("swiglu", {"x": ("m n", F32)}, {"y": ("m h", F32)}, "g, u = x.chunk(2, -1)\nreturn F.silu(g) * u", axes=HALVES, shapes=HALF_SHAPES),
    Case("swiglu_backward", {"x": X, "dy": ("m h", F32)}, {"dx": X},
         "g, u = x.chunk(2, -1)\ns = torch.sigmoid(g)\nreturn torch.cat([dy * u * s * (1 + g * (1 - s)), dy * g * s], -1)",
         axes=HALVES, shapes=HALF_SHAPES),
    Case("softmax_of_joined", {"x": ("m h", F32), "z": ("m h", F32)}, {"y": X}, "return torch.softmax(torch.cat([x, z * 2], -1), -1)",
         axes=HALVES, shapes=HALF_SHAPES),
    Case("rope", {"q": ("b s heads d", F32), "k": ("b s kv d", F32), "cos": ("s d", F32), "sin": ("s d", F32)},
         {"qr": ("b s heads d", F32), "kr": ("b s kv d", F32)},
         "c, n = cos[None, :, None, :], sin[None, :, None, :]\n"
         "turn = lambda x: torch.cat([-x[..., x.shape[-1] // 2:], x[..., :x.shape[-1] // 2]], -1)\n"
         "return q * c + turn(q) * n, k * c + turn(k) * n", axes=HEADS, shapes=HEAD_SHAPES),
    Case("head_norm", {"x": ("b s n", F32), "w": ("d", F32)}, {"y": ("b s n", F32)},
         "h = x.view(x.shape[0], x.shape[1], -1, w.shape[0])\n"
         "return (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6) * w).view(x.shape)",
         axes={"b": {"type": "var"}, "s": {"type": "var"}, "k": {"type": "var"}, "d": {"type": "var"}, "n": {"type": "expr", "expression": "k * d"}},
         shapes=({"b": 2, "s": 3, "k": 5, "d": 24}, {"b": 1, "s": 4, "k": 2, "d": 7})),
    Case("gelu", {"x": X, "b": W}, {"y": X, "z": X}, "return F.gelu(x + b), F.gelu(x + b, approximate='tanh')"),
    Case("gelu_backward", {"dy": X, "x": X}, {"dx": X, "dz": X},
         "return torch.ops.aten.gelu_backward(dy, x), torch.ops.aten.gelu_backward(dy, x, approximate='tanh')"),
    Case("functions", {"x": X}, {"y": X, "z": X},
         "p = x.abs() + 0.5\nreturn torch.tanh(x) + torch.erf(x) + torch.log(p) + p.sqrt() + p.pow(1.5) + x.sin(), "
         "x.clamp(-1, 1) + torch.maximum(x, -x) + x.round() + x.floor() + torch.exp(x) + 1 / p"),
    Case("cross_entropy", {"x": X, "t": ("m", "int64")}, {"loss": ("", F32)}, "return F.cross_entropy(x, t, ignore_index=0)"),
    Case("quantize", {"x": ("m n", B16)}, {"q": ("m n", "int8"), "s": ("m blocks", F32)},
         "h = x.float().view(x.shape[0], -1, 32)\ns = (h.abs().amax(-1) / 127).clamp_min(1e-12)\n"
         "return (h / s[..., None]).round().clamp(-127, 127).to(torch.int8).view(x.shape), s",
         axes={"m": {"type": "var"}, "blocks": {"type": "var"}, "n": {"type": "expr", "expression": "blocks * 32"}},
         shapes=({"m": 5, "blocks": 3}, {"m": 2, "blocks": 7})),
    Case("positions", {"x": X}, {"hi": ("m", "int64"), "lo": ("m", "int64")}, "return x.argmax(-1), x.argmin(-1)"),
    Case("statistics", {"x": X}, {"v": ROW, "s": ROW, "lo": ROW, "total": ("", F32)},
         "return x.var(-1, correction=0), torch.linalg.vector_norm(x, dim=-1), x.amin(-1), (x * x).mean()"),
    Case("looked_up", {"x": X, "t": ("m", "int64")}, {"y": ROW}, "return (x * 2).gather(-1, t[:, None]).squeeze(-1) + x.sum(-1)"),
    Case("dequantize", {"q": ("m n", "int8"), "s": ROW, "z": ("", F32)}, {"y": X, "above": ("m n", "bool"), "any": ("m", "bool")},
         "y = q.float() * s[:, None] + z\nreturn y, y > 0.25, y.amax(-1) > 1"),
    Case("scaled_gradient", {"dy": X, "x": X, "w": W, "z": ("", F32)}, {"dw": W, "db": W, "dz": ("", F32)},
         "return (dy * x).sum(0) * z.exp() + w, dy.mean(0), (dy * x * w).sum() / z", tolerance=1e-4),
)  # fmt: skip

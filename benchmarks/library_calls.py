"""Owns the library's own call for problems whose reference spells the operation out.

Where the reference is the library's call already (softmax, layer norm, attention, cross entropy, argmax), `eager`
and `eager_out` time it, and nothing stands here. SwiGLU, RoPE, GELU with bias and block quantisation have no call.
"""

from typing import Final

from deep_agent.problem.solution import BuildSpec, Language, Solution, SourceFile

LIBRARY_CALLS: Final[dict[str, str]] = {
    "rmsnorm": """
def run(x, weight):
    return torch.nn.functional.rms_norm(x, (x.shape[-1],), weight, 1e-6)
""",
    "add_rmsnorm": """
def run(x, residual, weight):
    total = x + residual
    return torch.nn.functional.rms_norm(total, (total.shape[-1],), weight, 1e-6), total
""",
    # cuBLASLt ends the product with bias and the tanh form of GELU; the judge refuses it where that is not exact enough.
    "gemm_bias_gelu": """
def run(x, weight, bias):
    return torch._addmm_activation(bias, x, weight.t(), use_gelu=True)
""",
    "layernorm_backward": """
def run(dy, x, weight, mean, rstd):
    mean, rstd = mean.unsqueeze(-1), rstd.unsqueeze(-1)
    bias = torch.zeros_like(weight)
    return torch.ops.aten.native_layer_norm_backward(
        dy, x, (x.shape[-1],), mean, rstd, weight, bias, (True, True, True)
    )
""",
    "rmsnorm_backward": """
def run(dy, x, weight, rstd):
    return torch.ops.aten._fused_rms_norm_backward(dy, x, (x.shape[-1],), rstd.unsqueeze(-1), weight, (True, True))
""",
    # The convolution pads both sides itself; what lies behind the sequence is left out.
    "causal_conv1d_silu": """
def run(x, weight, bias):
    channels, taps = weight.shape
    mixed = torch.nn.functional.conv1d(x, weight.unsqueeze(1), bias, padding=taps - 1, groups=channels)
    return torch.nn.functional.silu(mixed[..., : x.shape[-1]])
""",
}


def library_call(definition: str) -> Solution | None:
    """Give the library's call for one of our problems by its name; None where `eager` is that call, or there is none."""
    text = LIBRARY_CALLS.get(definition)
    if text is None:
        return None
    wrapped = text.replace("def run", "@torch.inference_mode()\ndef run")
    return Solution(
        name=f"{definition}_library",
        definition=definition,
        author="pytorch",
        description="The library's own call.",
        spec=BuildSpec(languages=(Language.PYTORCH,), entry_point="solution.py::run", destination_passing_style=False),
        sources=(SourceFile(path="solution.py", content=f"import torch\n\n{wrapped}"),),
    )

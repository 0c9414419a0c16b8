"""Linear layers by oneDNN, which comes with torch, in place of MKL.

On processors of other makers than Intel, MKL uses only half the width of their vectors. Measured on
one core of an AMD EPYC with AVX-512, in fp32: 105 GFLOP/s by MKL, 210 by oneDNN.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode


class OneDNNLinear(TorchFunctionMode):
    """While it is open, oneDNN computes linear layers of [N,D] on the CPU in fp32, without bias.

    Nothing else changes: the weights are the modules' own, and gradients reach them.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.linear and not kwargs:
            x, weight, bias = (*args, None)[:3]
            if bias is None and _is_supported(x):
                return _Linear.apply(x, weight)
        return func(*args, **(kwargs or {}))


def _is_supported(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.dim() == 2
        and x.numel() > 0
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    )


class _Linear(torch.autograd.Function):
    """A linear layer that copies nothing. torch's own, `mkldnn_linear`, keeps a copy of its input
    until the gradient is computed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # [N,D], [E,D] -> [N,E]
        ctx.save_for_backward(x, weight)
        return _product(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad
        return (
            _product(gradient, weight.t()) if of_x else None,
            _product(gradient.t(), x.t()) if of_weight else None,
        )


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a bᵀ."""
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")

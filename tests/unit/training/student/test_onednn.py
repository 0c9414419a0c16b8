import pytest
import torch
from torch import Tensor, nn
from torch.profiler import profile

from training.student.onednn import OneDNNLinear

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN"
)


def outputs_and_gradients(layer: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = x.clone().requires_grad_()
    output = layer(x)
    (output * torch.linspace(-1, 1, output.shape[-1])).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    gradients = x.grad, layer.weight.grad
    layer.zero_grad()
    return output.detach(), *gradients


@pytest.mark.parametrize("rows", [1, 7, 500])
def test_outputs_and_gradients_are_those_of_the_layer(rows: int) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(24, 40, bias=False), torch.randn(rows, 24)
    with OneDNNLinear():
        found = outputs_and_gradients(layer, x)
    expected = outputs_and_gradients(layer.double(), x.double())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4, check_dtype=False)


def products(layer: nn.Linear, x: Tensor) -> set[str]:
    with profile() as profiled, OneDNNLinear():
        layer(x)
    return {event.key for event in profiled.key_averages() if "linear" in event.key}


def test_onednn_does_what_it_can() -> None:
    layer, x = nn.Linear(24, 40, bias=False), torch.randn(5, 24)
    assert "mkldnn::_linear_pointwise" in products(layer, x)
    for other, of_it in [
        (layer, x[None]),
        (layer, torch.empty(0, 24)),
        (nn.Linear(24, 40), x),
        (nn.Linear(24, 40, bias=False).double(), x.double()),
    ]:
        assert products(other, of_it) == {"aten::linear"}
    with torch.autocast("cpu", torch.bfloat16):
        assert products(layer, x) == {"aten::linear"}

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import profile

from training.onednn import OneDNNLinear

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN"
)


def outputs_and_gradients(layer: nn.Linear, x: Tensor) -> tuple[Tensor, ...]:
    x = x.clone().requires_grad_()
    output = layer(x)
    (output * torch.linspace(-1, 1, output.shape[-1])).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    gradients = [x.grad, layer.weight.grad]
    if layer.bias is not None:
        assert layer.bias.grad is not None
        gradients.append(layer.bias.grad)
    layer.zero_grad()
    return (output.detach(), *gradients)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 24), (37, 24), (3, 5, 24)])
def test_outputs_and_gradients_are_those_of_the_layer(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(24, 40, bias=bias), torch.randn(shape)
    expected = outputs_and_gradients(layer, x)
    with OneDNNLinear():
        found = outputs_and_gradients(layer, x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def products(layer: nn.Linear, x: Tensor) -> set[str]:
    with profile() as profiled, OneDNNLinear():
        layer(x)
    return {event.key for event in profiled.key_averages()}


def test_onednn_does_it() -> None:
    assert "aten::mkldnn_linear" in products(nn.Linear(24, 40), torch.randn(5, 24))


def test_what_it_cannot_do_is_left_alone() -> None:
    double = products(nn.Linear(24, 40).double(), torch.randn(5, 24).double())
    assert "aten::mkldnn_linear" not in double
    with OneDNNLinear():
        assert nn.Linear(24, 40)(torch.empty(0, 24)).shape == (0, 40)
        with torch.autocast("cpu", torch.bfloat16):
            assert nn.Linear(24, 40)(torch.randn(5, 24)).dtype == torch.bfloat16

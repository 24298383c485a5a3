"""Linear layers through oneDNN are those of torch, but for rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cg_lab.models import linear
from cg_lab.models.linear import OneDnnLinear, is_onednn_faster, let_onednn_multiply

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")
AMD = {"cpu_name": "AMD EPYC", "avx512_f": True}


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 12), (2, 7, 12), (0, 12)])
def test_values_and_gradients_are_torch_s(shape: tuple[int, ...], *, has_bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(12, 8, bias=has_bias)
    ours = OneDnnLinear(12, 8, bias=has_bias)
    ours.load_state_dict(plain.state_dict())
    values = torch.randn(*shape)
    weights = torch.randn(*shape[:-1], 8)
    results: list[list[torch.Tensor]] = []
    for layer in (plain, ours):
        given = values.clone().requires_grad_()
        output = layer(given)
        (output * weights).sum().backward()
        assert given.grad is not None
        results.append([output.detach(), given.grad, *(one.grad for one in layer.parameters() if one.grad is not None)])
    assert len(results[0]) == len(results[1]) == (4 if has_bias else 3)
    for expected, found in zip(*results, strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_a_frozen_layer_passes_gradients_on_and_a_first_layer_asks_for_none() -> None:
    frozen = OneDnnLinear(4, 4).requires_grad_(requires_grad=False)
    values = torch.randn(3, 4, requires_grad=True)
    frozen(values).sum().backward()
    assert values.grad is not None
    assert frozen.weight.grad is None
    first = OneDnnLinear(4, 4)
    first(torch.randn(3, 4)).sum().backward()
    assert first.weight.grad is not None


def test_other_kinds_of_numbers_go_the_usual_way() -> None:
    layer = OneDnnLinear(4, 2).double()
    values = torch.randn(3, 4, dtype=torch.float64)
    assert layer(values).equal(nn.functional.linear(values, layer.weight, layer.bias))


def test_layers_keep_their_weights_and_stay_what_adapters_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bilinear(nn.Linear):
        """A layer of somebody's own."""

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Bilinear(4, 4))
    before = {name: value.data_ptr() for name, value in model.state_dict().items()}
    monkeypatch.setattr(linear, "is_onednn_faster", lambda: True)
    let_onednn_multiply(model)
    assert type(model[0]) is OneDnnLinear
    assert isinstance(model[0], nn.Linear)
    assert type(model[2]) is Bilinear
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == before


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [(AMD, True), ({**AMD, "avx512_f": False}, False), ({**AMD, "cpu_name": "Intel(R) Xeon(R)"}, False), ({}, False)],
)
def test_it_is_for_processors_of_amd_with_avx512(
    capabilities: dict[str, object], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert is_onednn_faster() is expected

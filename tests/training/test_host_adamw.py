"""Small updates survive, where masters lie on the device and where they lie on the host; and so does a checkpoint."""

from __future__ import annotations

import io
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from cg_lab.models.precision import Device, ParameterCounts, Precision, choose_precision
from cg_lab.training.host_adamw import HostAdamW
from cg_lab.training.memory import count_parameters, trained_in_float32

NUM_STEPS = 200


class Net(nn.Module):
    """Matrices, a norm and a bias, at the sizes that a language model's weights have."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 128)
        self.norm = nn.LayerNorm(128)
        self.last = nn.Linear(128, 32, bias=False)
        for matrix in (self.first.weight, self.last.weight):
            nn.init.normal_(matrix, std=0.02)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.last(functional.gelu(self.norm(self.first(values))))


def make_net() -> Net:
    """Make a model whose weights are those of a checkpoint in bfloat16."""
    torch.manual_seed(0)
    return Net().to(torch.bfloat16)


def list_weights(model: nn.Module) -> list[torch.Tensor]:
    return [weight.detach().float().clone() for weight in model.parameters()]


def take_step(model: Net, optimizer: torch.optim.Optimizer, step: int, *, reduced: bool) -> None:
    drawing = torch.Generator().manual_seed(step)
    values = torch.randn(64, 64, generator=drawing)
    labels = (values[:, :32] + 0.3 * torch.randn(64, 32, generator=drawing)).argmax(dim=1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=reduced):
        logits = model(values if reduced else values.to(next(model.parameters()).dtype))
        functional.cross_entropy(logits.float(), labels).backward()
    optimizer.step()
    optimizer.zero_grad()


def train(model: Net, rate: float, precision: Precision | None) -> list[torch.Tensor]:
    """Train as `run_finetune` does, in float32 throughout if nothing is said; gives the float32 weights at the end."""
    options: dict[str, Any] = {"lr": rate, "weight_decay": 0.0}
    if precision is None:
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(model.float().parameters(), **options)
        for step in range(NUM_STEPS):
            take_step(model, optimizer, step, reduced=False)
        return list_weights(model)
    with trained_in_float32(model, precision):
        kind = HostAdamW if precision.masters == "host" else torch.optim.AdamW
        optimizer = kind([{"params": list(model.parameters())}], **options)
        for step in range(NUM_STEPS):
            take_step(model, optimizer, step, reduced=precision.computes_in_bfloat16)
        masters = [master for group in optimizer.param_groups for master in group["params"]]
        assert {master.dtype for master in masters} == {torch.float32}
        assert {moment.dtype for state in optimizer.state.values() for moment in state.values()} == {torch.float32}
        return [master.detach().clone() for master in masters]


def find_precision(masters: str) -> Precision:
    """Let memory that stands in for a GPU's decide."""
    counts: ParameterCounts = count_parameters(make_net(), has_adapters=False)
    room = {"device": 20, "host": 6}[masters] * counts.trained
    device = Device(name="stand-in", memory=room, host_memory=10**9, is_gpu=True, has_bfloat16=True)
    precision = choose_precision(counts, device, loaded="bfloat16")
    assert (precision.masters, precision.computes_in_bfloat16) == (masters, True)
    return precision


def compare(found: list[torch.Tensor], expected: list[torch.Tensor], start: list[torch.Tensor]) -> tuple[float, float]:
    """Give the cosine and the ratio of sizes of two updates from one start."""
    updates = [
        torch.cat([(end - begin).flatten() for end, begin in zip(ends, start, strict=True)])
        for ends in (found, expected)
    ]
    return functional.cosine_similarity(*updates, dim=0).item(), (updates[0].norm() / updates[1].norm()).item()


@pytest.mark.parametrize("rate", [5e-6, 2e-6])
@pytest.mark.parametrize("masters", ["device", "host"])
def test_after_200_steps_the_update_is_that_of_float32(masters: str, rate: float) -> None:
    start = list_weights(make_net())
    expected = train(make_net(), rate, None)
    cosine, ratio = compare(train(make_net(), rate, find_precision(masters)), expected, start)
    assert cosine >= 0.99
    assert abs(ratio - 1) <= 0.02


def test_weights_and_moments_in_bfloat16_would_swallow_it() -> None:
    start, model = list_weights(make_net()), make_net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-6, weight_decay=0.0)
    for step in range(NUM_STEPS):
        take_step(model, optimizer, step, reduced=True)
    cosine, ratio = compare(list_weights(model), train(make_net(), 5e-6, None), start)
    assert cosine < 0.9
    assert abs(ratio - 1) > 0.02


def test_the_model_has_what_masters_round_to_and_takes_them_up_from_a_checkpoint_bit_for_bit() -> None:
    whole = make_net()
    optimizer = HostAdamW([{"params": list(whole.parameters())}], lr=1e-4)
    for step in range(6):
        if step == 3:
            kept, file = deepcopy(whole), io.BytesIO()
            torch.save(optimizer.state_dict(), file)
        take_step(whole, optimizer, step, reduced=True)
    (group,) = optimizer.param_groups
    assert all(
        weight.equal(master.to(torch.bfloat16))
        for weight, master in zip(whole.parameters(), group["params"], strict=True)
    )
    file.seek(0)
    again = HostAdamW([{"params": list(kept.parameters())}], lr=1e-4)
    again.load_state_dict(torch.load(file, weights_only=True))
    for step in range(3, 6):
        take_step(kept, again, step, reduced=True)
    assert all(one.equal(other) for one, other in zip(whole.parameters(), kept.parameters(), strict=True))
    assert all(one.equal(other) for one, other in zip(group["params"], again.param_groups[0]["params"], strict=True))

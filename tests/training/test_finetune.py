"""Fine-tunes: they learn, they are reproducible, and an interruption leaves no trace."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cg_lab.catalog import PhantomData
from cg_lab.config import read_study
from cg_lab.doctor.disk_forecast import measure_checkpoint
from cg_lab.doctor.room import count_trained
from cg_lab.errors import InterruptedByUserError
from cg_lab.models.answer_loss import compute_answer_loss
from cg_lab.models.backbone import LoadedBackbone, UnreadableCheckpointError, restore_weights, using_weights
from cg_lab.models.batches import IGNORED, Example, collate_training
from cg_lab.models.devices import find_cpu
from cg_lab.models.encoding import TooLongError, encode_questions
from cg_lab.models.precision import Device
from cg_lab.models.reading import reading_in_places
from cg_lab.models.tower import playing_back
from cg_lab.planning.schedule import schedule_epochs
from cg_lab.planning.work import FinetuneJob, Mixture
from cg_lab.questions import Question
from cg_lab.recipe import Lora
from cg_lab.training.finetune import NotFiniteError, Training, _Examples, run_finetune
from cg_lab.training.sample_order import EpochSampler, list_in_seeded_order
from cg_lab.training.trainer_arguments import Surroundings

DATA = PhantomData(version=1, world="compositional", seed=0, image_size=48, train_per_subset=1, test_per_subset=1)
NUM = 48


@pytest.fixture(scope="module")
def examples(backbone: LoadedBackbone) -> list[Example]:
    return make_examples(backbone, NUM)


def make_examples(backbone: LoadedBackbone, count: int) -> list[Example]:
    """Bright or dark pictures: easy to learn in a few steps."""
    generator = np.random.default_rng(0)
    bright = [number % 2 == 0 for number in range(count)]
    pixels = [generator.integers(0, 90, (48, 48)) + 160 * is_bright for is_bright in bright]
    images = [Image.fromarray(part.astype(np.uint8)) for part in pixels]
    asked = [Question(text="Which?", options=("benign", "malignant"), answer=int(is_bright)) for is_bright in bright]
    return encode_questions(backbone, asked, images)


def make_job(backbone: LoadedBackbone, **changes: Any) -> FinetuneJob:
    recipe = replace(read_study([]).finetune, **{"batch_size": 8, "epochs": 2, **changes})
    return FinetuneJob(data=DATA, backbone=backbone.identity, mixture=Mixture(parts=(), seed=0), recipe=recipe, seed=0)


@dataclass
class Stopper:
    """Asks for a stop after some steps, and remembers events."""

    after: int | None = None
    asked: int = 0
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self) -> bool:
        self.asked += 1
        return self.after is not None and self.asked >= self.after

    def note(self, event: str, **facts: Any) -> None:
        self.events.append((event, facts))


def run(
    backbone: LoadedBackbone,
    examples: list[Example],
    folder: Path,
    stop: Stopper,
    parts: int = 1,
    device: Device | None = None,
    **changes: Any,
) -> Training:
    surroundings = Surroundings(
        folder=folder / "checkpoints", weights=folder / "model", save_every_s=1e9, event=stop.note, is_stopping=stop,
        parts=parts, device=device,
    )  # fmt: skip
    return run_finetune(make_job(backbone, **changes), backbone, examples, surroundings)


def test_a_fine_tune_lowers_the_loss_and_logs_its_curve(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = Stopper()
    done = run(backbone, examples[:32], tmp_path, stop, epochs=4)
    assert done.steps == 16
    assert done.samples == 4 * 32
    assert done.loss_last < 0.7 * done.loss_first
    curve = [(facts["step"], facts["loss"]) for event, facts in stop.events if event == "log"]
    assert [step for step, _ in curve] == [1, 5, 10, 15]
    assert (done.loss_first, done.loss_last) == (curve[0][1], curve[-1][1])
    assert "loss" not in capsys.readouterr().out


def test_an_interrupted_fine_tune_ends_with_the_same_weights_bit_for_bit(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    few = examples[:24]
    run(backbone, few, tmp_path / "whole", Stopper())
    for after in (1, 2):
        with pytest.raises(InterruptedByUserError):
            run(backbone, few, tmp_path / "cut", Stopper(after=after))
    resumed = Stopper()
    run(backbone, few, tmp_path / "cut", resumed)
    assert resumed.events[0] == ("resumed", {"step": 3})
    whole, cut = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(whole[name].equal(cut[name]) for name in whole)


@pytest.mark.parametrize("changes", [{}, {"trainable": "projector"}, {"lora": Lora(rank=8, alpha=16, dropout=0.0)}])
def test_a_checkpoint_takes_the_disk_that_is_foreseen(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(InterruptedByUserError):
        run(backbone, examples, tmp_path, Stopper(after=2), **changes)
    (checkpoint,) = (tmp_path / "checkpoints").glob("checkpoint-*")
    counts = count_trained(backbone.identity, make_job(backbone, **changes).recipe)
    assert counts is not None
    foreseen = measure_checkpoint(counts, find_cpu())
    taken = sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
    assert foreseen < taken < 1.05 * foreseen + 200_000  # heads of files, the state of the training


@pytest.mark.parametrize("changes", [{}, {"lora": Lora(rank=2, alpha=4, dropout=0.0)}])
def test_the_loss_of_a_batch_in_parts_is_that_of_the_whole(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Of five samples in two parts, and answers that differ in length, a mean of the parts' means would be another."""
    long = replace(examples[0], options=((11, 12, 13, 14, 15), (16,)))
    few = [long, *examples[1:5]]
    whole, parts = (
        run(backbone, few, tmp_path / str(parts), Stopper(), parts=parts, epochs=1, **changes) for parts in (1, 2)
    )
    assert parts.loss_first == pytest.approx(whole.loss_first, abs=1e-5)


@pytest.mark.slow
def test_a_batch_in_parts_trains_what_a_whole_one_trains(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    runs = [tmp_path / "whole", tmp_path / "parts", tmp_path / "changed"]
    for folder, parts in zip(runs[:2], (1, 4), strict=True):
        run(backbone, examples, folder, Stopper(), parts=parts)
    with pytest.raises(InterruptedByUserError):
        run(backbone, examples, runs[2], Stopper(after=4))
    run(backbone, examples, runs[2], Stopper(), parts=2)
    whole, *others = (load_file(folder / "model" / "model.safetensors") for folder in runs)
    for other in others:
        assert max(float((whole[name] - other[name]).abs().max()) for name in whole) < 1e-3


def test_a_checkpoint_that_a_kill_cut_off_is_passed_over(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    broken = tmp_path / "checkpoints" / "checkpoint-7"
    broken.mkdir(parents=True)
    (broken / "trainer_state.json").write_text('{"global_st')
    stop = Stopper()
    run(backbone, examples[:16], tmp_path, stop)
    assert not broken.exists()
    assert "resumed" not in [event for event, _ in stop.events]


def test_a_loss_that_is_not_finite_ends_the_fine_tune(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    poisoned = [
        replace(example, image={key: values * float("nan") for key, values in example.image.items()})
        for example in examples
    ]
    with pytest.raises(NotFiniteError, match="at step 1; lower finetune.learning_rate"):
        run(backbone, poisoned[:8], tmp_path, Stopper())


def test_frozen_parts_keep_their_weights(backbone: LoadedBackbone, examples: list[Example], tmp_path: Path) -> None:
    restore_weights(backbone)
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    run(backbone, examples[:16], tmp_path, Stopper(), trainable="projector")
    with using_weights(backbone, tmp_path / "model"):
        tuned = backbone.model.state_dict()
        changed = {name for name, value in tuned.items() if not value.equal(before[name])}
    assert changed
    assert all(name.startswith("model.multi_modal_projector") for name in changed)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt"])
@pytest.mark.slow
def test_a_checkpoint_of_which_a_file_was_cut_off_is_told_and_not_used(
    file: str, backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(InterruptedByUserError):
        run(backbone, examples, tmp_path, Stopper(after=4))
    (checkpoint,) = (tmp_path / "checkpoints").glob("checkpoint-*")
    path = checkpoint / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    stop = Stopper()
    done = run(backbone, examples, tmp_path, stop)
    assert [event for event, _ in stop.events if event in ("checkpoint_removed", "resumed")] == ["checkpoint_removed"]
    assert done.steps == 12


def test_weights_that_can_not_be_read_are_told_with_what_to_do(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    run(backbone, examples[:8], tmp_path, Stopper())
    folder = tmp_path / "model"
    path = folder / "model.safetensors"
    whole = load_file(path)
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    save_file({name: value for name, value in whole.items() if "norm" not in name}, path)
    with (
        pytest.raises(UnreadableCheckpointError, match="weights do not fit the model"),
        using_weights(backbone, folder),
    ):
        pass
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UnreadableCheckpointError, match="remove that folder"), using_weights(backbone, folder):
        pass
    path.unlink()
    with pytest.raises(UnreadableCheckpointError, match="can't be read"), using_weights(backbone, folder):
        pass
    restore_weights(backbone)
    assert before.keys() == backbone.model.state_dict().keys()


def test_a_label_longer_than_the_context_is_told_before_anything_is_trained(backbone: LoadedBackbone) -> None:
    image = Image.new("L", (48, 48))
    question = Question(text="What is it?", options=("x " * 2000, "y"), answer=0)
    with pytest.raises(TooLongError, match=r"the question 'What is it\?' takes .* of 'tiny_llava' holds 1024"):
        encode_questions(backbone, [question], [image])


@pytest.mark.parametrize(
    ("num", "epochs", "parts"), [(11, 3, 1), (11, 3, 4), (16, 1.5, 1), (16, 1.6, 4), (5, 2.5, 2), (5, 0.5, 1)]
)
def test_as_many_samples_are_seen_as_the_epochs_have(  # noqa: PLR0917 - fixtures
    num: int,
    epochs: float,
    parts: int,
    backbone: LoadedBackbone,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each as often as the others, whatever is left for the last batch, which is never cut or filled up."""
    named = [replace(one, prompt=[*one.prompt, 100 + number]) for number, one in enumerate(examples[:num])]
    seen: list[int] = []

    def collate(batch: list[Example], pad_id: int) -> Any:
        seen.extend(one.prompt[-1] - 100 for one in batch)
        return collate_training(batch, pad_id)

    def lose(model: Any, batch: Any, num_answers: Any = None) -> torch.Tensor:  # whatever the model says
        return next(weight for weight in model.parameters() if weight.requires_grad).sum()

    monkeypatch.setattr("cg_lab.training.finetune.collate_training", collate)
    monkeypatch.setattr("cg_lab.training.finetune.compute_answer_loss", lose)
    done = run(backbone, named, tmp_path, Stopper(), parts=parts, epochs=epochs, trainable="projector")
    total = round(num * epochs)
    assert len(seen) == done.samples == total
    assert done.steps == schedule_epochs(replace(read_study([]).finetune, batch_size=8, epochs=epochs), num).steps
    assert {seen.count(number) for number in range(num)} <= {total // num, -(-total // num)}


def test_few_samples_are_gone_through_until_the_floor_of_steps(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    done = run(backbone, examples[:9], tmp_path, Stopper(), epochs=1, min_steps=5, trainable="projector")
    assert (done.steps, done.samples) == (5, 26)  # twice nine, and a batch of eight


def test_an_epoch_that_is_only_begun_ends_the_same_after_an_interruption(
    backbone: LoadedBackbone, examples: list[Example], tmp_path: Path
) -> None:
    recipe = {"epochs": 2.4, "trainable": "projector"}
    run(backbone, examples[:13], tmp_path / "whole", Stopper(), parts=4, **recipe)
    for after in (3, 1):  # within an epoch, and at its end
        with pytest.raises(InterruptedByUserError):
            run(backbone, examples[:13], tmp_path / "cut", Stopper(after=after), parts=4, **recipe)
    run(backbone, examples[:13], tmp_path / "cut", Stopper(), parts=4, **recipe)
    whole, cut = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut"))
    assert all(whole[name].equal(cut[name]) for name in whole)


def test_processes_have_as_many_batches_and_what_fills_them_up_is_not_learnt(
    backbone: LoadedBackbone, examples: list[Example]
) -> None:
    schedule = schedule_epochs(replace(read_study([]).finetune, batch_size=8, epochs=1.5), 9)
    assert sorted(EpochSampler(list_in_seeded_order(9, seed=0), schedule)) == list(range(9))
    sampler = EpochSampler(list_in_seeded_order(9, seed=0), schedule, fill_to=4)
    order = list(sampler)
    assert sorted(order) == [-1, -1, -1, *range(9)]
    sampler.set_epoch(1)
    assert len(list(sampler)) == len(sampler) == 8
    assert [one for one in sampler if one >= 0] == list(list_in_seeded_order_at(9, 1))[: schedule.rest]
    samples = _Examples(examples[:9])
    batch = collate_training([samples[0], samples[1]], 0)
    filled = collate_training([samples[0], samples[1], samples[-1], samples[-1]], 0)
    assert (filled["labels"] != IGNORED).sum() == (batch["labels"] != IGNORED).sum()
    with torch.no_grad():
        backbone.model.eval()
        num_answers = (batch["labels"] != IGNORED).sum()
        with playing_back(backbone), reading_in_places(backbone.model):
            losses = [compute_answer_loss(backbone.model, one, num_answers) for one in (batch, filled)]
    assert float(losses[1]) == pytest.approx(float(losses[0]), abs=1e-5)


def list_in_seeded_order_at(num_samples: int, epoch: int) -> Any:
    sampler = list_in_seeded_order(num_samples, seed=0)
    sampler.set_epoch(epoch)
    return sampler

"""The same questions to loaded weights and to a server that has them: equal answers."""

from __future__ import annotations

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from cg_lab.config import read_study
from cg_lab.data.sources import open_source, read_catalog
from cg_lab.endpoint_settings import ServedModel, Server
from cg_lab.evaluation.evaluate import run_eval
from cg_lab.evaluation.served_evaluation import run_served_eval
from cg_lab.evaluation.served_exam import pose_exam
from cg_lab.execution.packs import Order
from cg_lab.execution.workset import open_workset
from cg_lab.models.backbone import LoadedBackbone
from cg_lab.models.identity import identify_backbone
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.planning.build import Run, build_plan
from cg_lab.planning.plan import Plan
from cg_lab.planning.work import Protocol
from cg_lab.questions import AnswerForm
from cg_lab.results import Layout
from tests.evaluation.chat_server import ChatServer, serving

SMALL = ("arms=[zero_shot]", "targets=[us-breast-mass]", "data.train_per_subset=24", "data.test_per_subset=24")
PROTOCOLS = (
    Protocol(image="original", by="generation"),
    Protocol(image="blank", by="generation"),
    Protocol(image="original", shots=1, by="generation"),
    Protocol(image="original", by="generation", rotations="all"),
)


@dataclass
class Twins:
    """One plan's questions, asked in two ways."""

    plan: Plan
    root: Path

    def ask_loaded(self, form: AnswerForm, protocol: Protocol) -> list[dict[str, Any]]:
        job = self.plan.evals[0]
        job = replace(job, backbone=replace(job.backbone, answer=form), protocol=protocol)
        order = Order(study="s", cluster=read_study([]).cluster, tracking=read_study([]).tracking, eval_batch_size=8)
        shared = open_workset(job, self.plan, order, Layout(self.root), 1)
        run_eval(shared.backbone, None, shared.ask(job), protocol, self.root / "loaded.parquet", 8)
        return pq.read_table(self.root / "loaded.parquet").to_pylist()

    def ask_served(
        self, form: AnswerForm, protocol: Protocol, url: str, served: str, *, option_log_probs: bool = False
    ) -> list[dict[str, Any]]:
        model = ServedModel(
            name="t", served=served, answer=form, request='{"max_tokens":64,"temperature":0}',
            option_log_probs=option_log_probs,
        )  # fmt: skip
        server = Server(
            model=model, url=url, key_variable=None, concurrency=4, timeout_s=60, retries=2, retry_wait_s=0.1,
            max_requests=None,
        )  # fmt: skip
        (catalog,) = self.plan.catalogs
        exam = pose_exam(
            replace(self.plan.evals[0], backbone=model, protocol=protocol),
            open_source(catalog, self.root / "data"),
            {subset.name: subset for subset in catalog.subsets},
        )
        run_served_eval(exam, server, self.root / "a", self.root / "served.parquet", lambda: False)
        return pq.read_table(self.root / "served.parquet").to_pylist()


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    study = read_study(list(SMALL))
    catalog = read_catalog(study.data, tmp_path / "data", lambda *_: None)
    run = Run(name="", study=study, catalog=catalog, backbone=identify_backbone(study.model))  # type: ignore[arg-type]
    return Twins(build_plan([run]), tmp_path)


class WeightsServer(ChatServer):
    """Answers with the embedded model, through transformers' own template and forward pass.

    It lists all tokens, as servers do not, so that no letter of a model that knows none is left out.
    """

    backbone: LoadedBackbone

    @torch.inference_mode()
    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        model, processor = self.backbone.model, self.backbone.processor
        messages: list[dict[str, Any]] = []
        for message in body["messages"]:
            if isinstance(message["content"], str):
                messages.append({**message, "content": [{"type": "text", "text": message["content"]}]})
                continue
            picture, text = message["content"]
            opened = Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].partition(",")[2])))
            messages.append({"role": message["role"], "content": [{"type": "image", "image": opened}, text]})
        with self._lock:
            inputs = processor.apply_chat_template(
                messages,
                add_generation_prompt=body.get("add_generation_prompt", True),
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
            log_probs_TV = model(**inputs).logits[0].float().log_softmax(dim=-1)
        log_probs_V = log_probs_TV[-1]
        tops = [
            {"token": processor.tokenizer.decode([token]), "logprob": value}
            for token, value in enumerate(log_probs_V.tolist())
        ]
        best = max(tops, key=lambda top: top["logprob"])
        message = {"role": "assistant", "content": best["token"]}
        said = {
            "model": "t",
            "choices": [{"message": message, "logprobs": {"content": [{**best, "top_logprobs": tops}]}}],
        }
        if body.get("prompt_logprobs") == 0:
            tokens = inputs["input_ids"][0].tolist()
            said["prompt_logprobs"] = [
                None,
                *(
                    {str(token): {"logprob": float(log_probs_TV[place, token]), "rank": 1, "decoded_token": "?"}}
                    for place, token in enumerate(tokens[1:])
                ),
            ]
        return said


def test_letters_have_the_log_probabilities_that_loaded_weights_give_them(
    twins: Twins, backbone: LoadedBackbone
) -> None:
    protocol = Protocol(image="original")
    loaded = twins.ask_loaded(AnswerForm.LETTER, protocol)
    chat = WeightsServer(served="t")
    chat.backbone = backbone
    with serving(chat):
        served = twins.ask_served(AnswerForm.LETTER, protocol, chat.url, "t")
    assert len(loaded) == len(served) == 24
    for one, other in zip(loaded, served, strict=True):
        assert (one["question"], one["options"]) == (other["question"], other["options"])
        assert other["log_probs"] == pytest.approx(one["log_probs"], abs=1e-4)
        assert other["choice"] == one["choice"]


def test_options_put_as_answers_have_the_log_probabilities_that_loaded_weights_give_them(
    twins: Twins, backbone: LoadedBackbone
) -> None:
    protocol = Protocol(image="original")
    loaded = twins.ask_loaded(AnswerForm.TEXT, protocol)
    chat = WeightsServer(served="t")
    chat.backbone = backbone
    with serving(chat):
        served = twins.ask_served(AnswerForm.TEXT, protocol, chat.url, "t", option_log_probs=True)
    assert len(loaded) == len(served) == 24
    for one, other in zip(loaded, served, strict=True):
        assert other["log_probs"] == pytest.approx(one["log_probs"], abs=1e-4)
        assert (other["choice"], other["score"]) == (one["choice"], one["score"])
    assert all(row["written"] is None for row in served)


@pytest.fixture
def transformers_serve(tmp_path: Path) -> Iterator[str]:
    """Let `transformers serve` have the embedded model."""
    pytest.importorskip("openai", reason="`transformers serve` needs the package openai")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        Path(sys.executable).parent / "transformers", "serve", "--host", "127.0.0.1", "--port", str(port),
        "--device", "cpu", "--dtype", "float32", str(WEIGHTS),
    ]  # fmt: skip
    with (tmp_path / "serve.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        for _ in range(240):
            assert server.poll() is None, (tmp_path / "serve.log").read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                    break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


@pytest.mark.slow
def test_transformers_serve_answers_as_loaded_weights_do(twins: Twins, transformers_serve: str) -> None:
    for protocol in PROTOCOLS:
        loaded = twins.ask_loaded(AnswerForm.TEXT, protocol)
        served = twins.ask_served(AnswerForm.TEXT, protocol, transformers_serve, str(WEIGHTS))
        assert len(loaded) == 24
        for one, other in zip(loaded, served, strict=True):
            for column in ("question", "instruction", "options", "written", "parsed", "choice", "score"):
                assert one[column] == other[column], (protocol, column)
        assert any(one["choice"] is not None for one in loaded)

"""Which model a study means: found and named without loading it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cg_lab.endpoint_settings import EndpointSettings, ServedModel, Server
from cg_lab.errors import UserError
from cg_lab.models.endpoint.formats import load_format
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.questions import AnswerForm
from cg_lab.results import ADAPTER_CONFIG
from cg_lab.serialize import canonical_json, read_json
from cg_lab.study import ELSEWHERE, AnyBackbone, Backbone, ModelSettings

PACKAGED = {"package:tiny_llava": WEIGHTS}
"""Models that come with the package."""


READ = (
    "config.json", "generation_config.json", "*processor_config.json", "tokenizer*", "special_tokens_map.json",
    "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.jinja", "chat_template*", "additional_chat_templates/*",
)  # fmt: skip
"""Files beside the weights that decide what a model reads and writes."""


def identify_model(settings: ModelSettings | EndpointSettings) -> AnyBackbone:
    """Name a model; of a served one what is declared counts, since nothing is asked yet."""
    return identify_served(settings) if isinstance(settings, EndpointSettings) else identify_backbone(settings)


def describe_server(settings: EndpointSettings) -> Server:
    """Say how a served model is reached."""
    return Server(
        model=identify_served(settings),
        url=settings.url.rstrip("/"),
        key_variable=settings.key_variable,
        concurrency=settings.concurrency,
        timeout_s=settings.timeout_s,
        retries=settings.retries,
        retry_wait_s=settings.retry_wait_s,
        max_requests=settings.max_requests,
        input_price=settings.input_price,
        output_price=settings.output_price,
        max_cost=settings.max_cost,
    )


def identify_served(settings: EndpointSettings) -> ServedModel:
    """Name a served model by what is declared of it; its server's address is no part of that."""
    _check_url(settings.url)
    if settings.option_log_probs and settings.answer is not AnswerForm.TEXT:
        raise UserError(
            "model.option_log_probs=true scores texts of options; with it goes model.answer=text, not "
            f"model.answer={settings.answer}, whose letters count by log-probabilities as it is"
        )
    if settings.max_cost is not None and not (settings.input_price or settings.output_price):
        raise UserError(
            f"model.max_cost: {settings.max_cost:g} of what? Nothing has a price: model.input_price=2.5 and "
            "model.output_price=10 are those of a million tokens"
        )
    load_format(settings.format)
    return ServedModel(
        name=settings.name or settings.served,
        served=settings.served,
        revision=settings.revision or "",
        answer=settings.answer,
        request=canonical_json(settings.request),
        longest_side=settings.longest_side,
        format=settings.format,
        option_log_probs=settings.option_log_probs,
    )


def _check_url(url: str) -> None:
    """Refuse an address that is none, or that holds a secret, without a word of it.

    Raises
    ------
    UserError
        With what would be right.

    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UserError("model.url: it begins with http:// or https://, as in http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UserError(
            "model.url: a key or a password does not belong into it; model.key_variable names a variable that holds one"
        )


def identify_backbone(settings: ModelSettings) -> Backbone:
    """Name a model so that the name stays with what it does: a hub revision, or the hash of a local one's files.

    Of a local model the weights count, its template, tokenizer and processor.

    Raises
    ------
    UserError
        If a packaged model or local folder is not there or holds no safetensors, or a hub model has no revision.

    """
    folder = find_local_folder(settings.path)
    if settings.path == ELSEWHERE:
        revision = settings.revision or ""
    elif folder is not None:
        revision = _hash_model(folder, settings.path)
    elif settings.revision is None:
        raise UserError(
            f"model.path: '{settings.path}' is no local folder, and a hub model needs its commit: model.revision=COMMIT"
        )
    else:
        revision = settings.revision
    adapter = "" if settings.adapter is None else _identify_adapter(settings.adapter)
    return Backbone(
        name=settings.name,
        path=settings.path,
        revision=revision,
        answer=settings.answer,
        adapter=adapter,
        min_pixels=settings.min_pixels,
        max_pixels=settings.max_pixels,
        max_tiles=settings.max_tiles,
        attention=settings.attention,
    )


def _identify_adapter(path: str) -> str:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        name, _, commit = path.rpartition("@")
        if name and commit:
            return path
        raise UserError(
            f"model.adapter: '{path}' is no local folder, and adapters of the hub need their commit: "
            f"model.adapter={path}@COMMIT"
        )
    files = [folder / ADAPTER_CONFIG, *sorted(folder.glob("adapter_model*.safetensors"))]
    if len(files) < 2 or not files[0].exists():
        raise UserError(
            f"model.adapter: '{path}' holds no {ADAPTER_CONFIG} with adapter_model.safetensors, as peft writes them"
        )
    return f"{path}@{_hash_files(files)}"


def find_local_folder(path: str) -> Path | None:
    """Give the folder of packaged or local weights; None for a hub name.

    Raises
    ------
    UserError
        For a `package:` name that does not exist.

    """
    if path.startswith("package:"):
        if path not in PACKAGED:
            raise UserError(f"model.path: no packaged model '{path}'; known: {', '.join(PACKAGED)}")
        return PACKAGED[path]
    folder = Path(path).expanduser()
    return folder if folder.is_dir() else None


def _hash_model(folder: Path, path: str) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if (folder / ADAPTER_CONFIG).exists() and not (folder / "config.json").exists():
        base = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or "BASE"
        raise UserError(
            f"model.path: '{path}' holds adapters, no model; give the model that they belong to, and them: "
            f"model.path={base} model.adapter={path}"
        )
    if not files:
        raise UserError(f"model.path: '{path}' holds no *.safetensors ({folder})")
    if not (folder / "config.json").exists():
        raise UserError(f"model.path: '{path}' holds no config.json ({folder})")
    if path in PACKAGED:  # the package's version stands for the rest
        return _hash_files([folder / "config.json", *files])
    names = list_read_files(folder)
    return _hash_files([*(folder / name for name in names), *files], names)


def hash_weights(folder: Path) -> str:
    """Name the weights or adapters in a folder by what they are.

    Raises
    ------
    FileNotFoundError
        If there are none.

    """
    adapters, config = sorted(folder.glob("adapter_model*.safetensors")), folder / ADAPTER_CONFIG
    files = [config, *adapters] if config.exists() else sorted(folder.glob("*.safetensors"))
    if not files or (config.exists() and not adapters):
        raise FileNotFoundError(
            f"{folder} holds no model*.safetensors, and no {ADAPTER_CONFIG} with adapter_model.safetensors"
        )
    return _hash_files(files)


def list_read_files(folder: Path) -> list[str]:
    """List what decides, beside the weights, what a model in a folder reads and writes."""
    read = {file for pattern in READ for file in folder.glob(pattern) if file.is_file()}
    return sorted(str(file.relative_to(folder)) for file in read)


def _hash_files(files: Sequence[Path], names: Sequence[str] = ()) -> str:
    digest = hashlib.sha256("\0".join(names).encode())
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]

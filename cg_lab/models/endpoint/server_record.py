"""What a server says of itself, kept beside its answers, so that two models are never taken for one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from cg_lab.endpoint_settings import ServedModel
from cg_lab.errors import UserError
from cg_lab.models.endpoint.client import Client
from cg_lab.serialize import parse, read_json, write_json

TOLD = ("root", "parent")
"""What vLLM lists of a model beside its name: where its weights are, and the model that an adapter belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """A served model as its server told it."""

    model: ServedModel
    reported: dict[str, str] = field(default_factory=dict)
    """By `root`, `parent`, `version` of the server, and `model`, as which it answers."""
    takes_log_probs: bool | None = None
    """Whether it takes requests that ask for log-probabilities; None before it was asked."""


def read_record(folder: Path, model: ServedModel) -> ServerRecord:
    """Read what is kept; a new record if nothing is."""
    path = folder / "server.json"
    return parse(ServerRecord, read_json(path), where=str(path)) if path.exists() else ServerRecord(model=model)


def write_record(folder: Path, record: ServerRecord) -> None:
    """Keep it."""
    write_json(folder / "server.json", record)


async def ask_report(client: Client) -> dict[str, str]:
    """Ask a server for its version and what it says of the model; it may say nothing."""
    server = client.server
    listed = next((model for model in await client.list_models() if model["id"] == server.model.served), {})
    said = {name: str(listed[name]) for name in TOLD if listed.get(name)}
    version = await client.read_json(f"{server.url.removesuffix('/v1')}/version")
    if isinstance(version, dict) and version.get("version"):
        said["version"] = str(version["version"])
    return said


def update_record(record: ServerRecord, said: dict[str, str], folder: Path) -> ServerRecord:
    """Add what a server says; its software may change, its model not.

    Raises
    ------
    UserError
        If it is another model than that of the answers that are kept.

    """
    for name in (*TOLD, "model"):
        before = record.reported.get(name)
        if before and name in said and said[name] != before:
            raise UserError(
                f"model.served: '{record.model.served}' is another model now: its server reports {name} "
                f"'{said[name]}', and reported '{before}' with the answers in {folder}; give it a mark of "
                "its own, such as model.revision=second, and it is asked anew"
            )
    return replace(record, reported=record.reported | said)

"""Which model a study means: found and named without loading it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.models.tiny_llava import WEIGHTS
from cg_lab.study import Backbone, ModelSettings

PACKAGED = {"package:tiny_llava": WEIGHTS}
"""Models that come with the package."""


def identify_backbone(settings: ModelSettings) -> Backbone:
    """Name a model so that the name stays with the weights: a hub revision, or the hash of local weights.

    Raises
    ------
    UserError
        If a packaged model or local folder is not there or holds no safetensors, or a hub model has no revision.

    """
    folder = find_local_folder(settings.path)
    if folder is not None:
        revision = _hash_weights(folder, settings.path)
    elif settings.revision is None:
        raise UserError(
            f"model.path: '{settings.path}' is no local folder, and a hub model needs its commit: model.revision=COMMIT"
        )
    else:
        revision = settings.revision
    return Backbone(name=settings.name, path=settings.path, revision=revision, answer=settings.answer)


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


def _hash_weights(folder: Path, path: str) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"model.path: '{path}' holds no *.safetensors ({folder})")
    digest = hashlib.sha256()
    for file in [folder / "config.json", *files]:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]

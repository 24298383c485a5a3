"""Which trainer a recipe means: its version, and hashes of the files that decide what it does."""

from __future__ import annotations

import hashlib
import shlex
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from pathlib import Path

from cg_lab.errors import UserError
from cg_lab.recipe import TRAINED_ELSEWHERE, Recipe
from cg_lab.training.command_process import find_path, find_program
from cg_lab.training.exporters import load_exporter

HASH_LENGTH = 12


def identify_trainer(recipe: Recipe) -> Recipe:
    """Say in a recipe which trainer it means; one that cg_lab trains by itself stays as it is.

    Raises
    ------
    UserError
        If something that a command needs is not given, or is given and has no effect, or its version is not known.

    """
    if recipe == TRAINED_ELSEWHERE:
        return recipe
    if recipe.by == "elsewhere":
        raise UserError("finetune.by=elsewhere: comes by itself with checkpoints=FILE, the table of what was trained")
    if recipe.by == "cg_lab":
        for name in ("command", "exporter", "version"):
            if getattr(recipe, name) is not None:
                raise UserError(f"finetune.{name}: has no effect as long as cg_lab trains; give finetune.by=command")
        return recipe
    for name, such in (("command", "'python train.py {config}'"), ("exporter", "trl")):
        if getattr(recipe, name) is None:
            raise UserError(f"finetune.{name}: must be given with finetune.by=command, such as finetune.{name}={such}")
    assert recipe.command is not None
    found = recipe.version or find_version(recipe.command)
    if found is None:
        raise UserError(
            f"finetune.version: no installed package has the program of '{recipe.command}'; name the trainer and its "
            "version, which are part of every job's id: finetune.version='mine 1'"
        )
    return replace(recipe, version=found, files=_hash_parts(recipe))


def check_unchanged(recipe: Recipe) -> None:
    """Refuse a trainer that is another one by now than when the study was planned.

    Raises
    ------
    UserError
        With what has changed.

    """
    assert recipe.command is not None
    assert recipe.version is not None
    files, found = _hash_parts(recipe), find_version(recipe.command)
    if files != recipe.files:
        raise UserError(f"finetune.command: its files were {recipe.files} at planning and are {files}; plan anew")
    if found and found != recipe.version and found.split()[0] == recipe.version.split()[0]:
        raise UserError(f"finetune.version: planned with {recipe.version}, and this machine has {found}; plan anew")


def find_version(command: str) -> str | None:
    """Find name and version of the installed package that a command's program, or its `-m` module, is from."""
    words = shlex.split(command)
    try:
        if Path(find_program(words, find_path())).parent != Path(sys.executable).parent:
            return None  # of another environment
    except UserError:
        return None
    if words[1:2] == ["-m"] and len(words) > 2:
        names = packages_distributions().get(words[2].split(".")[0], [])
    else:
        scripts = entry_points(group="console_scripts", name=Path(words[0]).name)
        names = [script.dist.name for script in scripts if script.dist is not None]
    try:
        return f"{names[0]} {version(names[0])}" if names else None
    except PackageNotFoundError:
        return None


def _hash_parts(recipe: Recipe) -> str:
    """Name the exporter, and the files that the command names, with what is in them."""
    assert recipe.command is not None
    assert recipe.exporter is not None
    exporter = load_exporter(recipe.exporter)
    source = getattr(exporter, "__file__", None)
    own = f"@{_hash(Path(source))}" if "." in recipe.exporter and source else ""
    parts = [f"{recipe.exporter} {exporter.VERSION}{own}"]
    parts += [f"{word}@{_hash(Path(word))}" for word in shlex.split(recipe.command)[1:] if Path(word).is_file()]
    return ", ".join(parts)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:HASH_LENGTH]

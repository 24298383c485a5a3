"""Find the checkpoint that a fine-tune goes on from, and pass over what can't be read."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import get_last_checkpoint


def find_checkpoint(folder: Path, event: Callable[..., None]) -> str | None:
    """Find the last whole checkpoint; one that was cut off is told and removed.

    Parameters
    ----------
    folder
        Of the checkpoints.
    event
        Takes an event's name and its facts; writes a line of the job's journal.

    """
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))) is not None:
        if _is_whole(Path(found)):
            return found
        event("checkpoint_removed", reason="it can't be read whole", checkpoint=Path(found).name)
        shutil.rmtree(found)
    return None


def _is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint was written to its end, state last, and no file of it was cut off since."""
    try:
        for file in checkpoint.glob("*.safetensors"):
            with safe_open(file, framework="pt"):
                pass
        if not all(zipfile.is_zipfile(file) for file in checkpoint.glob("*.pt")):
            return False
        return "global_step" in json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError, SafetensorError):
        return False

"""What Hydra refuses, told by the override at fault and what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cg_lab.config.folder import find_config_dir, list_choices
from cg_lab.config.home_folders import quote_home
from cg_lab.config.keys import flatten, list_defaults, list_keys, load_default
from cg_lab.errors import suggest

OTHER_NAMES = {
    "adam_beta": "finetune.weight_decay",
    "batch": "finetune.batch_size",
    "bs": "finetune.batch_size",
    "checkpoint": "model.path",
    "dataset": "data",
    "dataset_path": "data.path",
    "eval_batch_size": "evaluation.batch_size",
    "exp_name": "study",
    "experiment_name": "study",
    "gradient_clip_val": "finetune.max_grad_norm",
    "lora_alpha": "finetune.lora.alpha",
    "lora_dropout": "finetune.lora.dropout",
    "lora_r": "finetune.lora.rank",
    "lora_rank": "finetune.lora.rank",
    "lora_target_modules": "finetune.lora.targets",
    "lr": "finetune.learning_rate",
    "max_samples": "design.max_samples",
    "mlflow_uri": "tracking.uri",
    "model_name": "model",
    "model_name_or_path": "model.path",
    "num_epochs": "finetune.epochs",
    "num_gpus": "cluster.gpus",
    "num_train_epochs": "finetune.epochs",
    "out_dir": "results_dir",
    "output": "results_dir",
    "output_dir": "results_dir",
    "per_device_eval_batch_size": "evaluation.batch_size",
    "per_device_train_batch_size": "finetune.batch_size",
    "run_name": "study",
    "save_steps": "cluster.save_every_s",
    "seed": "seeds",
    "target": "targets",
    "tracking_uri": "tracking.uri",
    "train_batch_size": "finetune.batch_size",
    "warmup_ratio": "finetune.warmup_share",
}
"""Names that other tools have for settings, by the last part of a key."""
SHOWN = 12
"""Keys of a part of the configuration that a message lists."""


def explain_refusal(error: Exception, overrides: Sequence[str], *, config_name: str) -> str:
    """Say which override Hydra refused, and what would be right."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if f"primary config '{config_name}'" in text:
        return (
            f"--config-name {config_name}: no file '{config_name}.yaml' in conf/ or --config-dir; an overlay of "
            "conf/experiment/ is chosen with experiment=NAME"
        )
    again = re.search(r"Multiple values for (\S+)\. To override", text)
    for override in overrides:
        if again and override.lstrip("+").startswith(f"{again[1]}="):
            plain = override.lstrip("+")
            return f"override '{override}': {again[1]} is chosen already, and chosen anew without '+': {plain}"
        told = (
            _explain_grammar(override, text)
            or _explain_choice(override, text)
            or _explain_key(override, text, overrides)
        )
        if told:
            return f"override '{override}': {told}"
    return f"override: {text}"


def find_key(wanted: str, beside: Iterable[str] = ()) -> str | None:
    """Find the key that somebody meant: by another tool's name for it, by its last part, or by its spelling.

    >>> find_key("finetune.lr"), find_key("learning_rate"), find_key("finetune.learning_rat"), find_key("qwertz")
    ('finetune.learning_rate', 'finetune.learning_rate', 'finetune.learning_rate', None)
    """
    keys = [*list_keys(), *beside]
    leaf = wanted.rpartition(".")[2].replace("-", "_").casefold()
    if leaf in OTHER_NAMES:
        return OTHER_NAMES[leaf]
    same = [key for key in keys if key.rpartition(".")[2] == leaf]
    if same:
        return max(same, key=lambda key: difflib.SequenceMatcher(None, wanted, key).ratio())
    by_leaf = {key.rpartition(".")[2]: key for key in keys}
    group = wanted.rpartition(".")[0]
    of_group = {key.rpartition(".")[2]: key for key in keys if key.rpartition(".")[0] == group}
    for known in (of_group,) if of_group else (by_leaf,):
        near = difflib.get_close_matches(leaf, known, n=1, cutoff=0.7)
        if near:
            return known[near[0]]
    return None


def _explain_grammar(override: str, text: str) -> str | None:
    """Explain what Hydra's grammar does not take."""
    key, has_value, value = override.partition("=")
    told = None
    if f"'{override}'" in text and "Ambiguous value" in text:
        told = "one value is wanted; `-m` plans each of them, all together"
    elif f"'{override}'" in text and "requires --multirun" in text:
        told = "several values are planned together with `-m`"
    elif has_value and _is_ungrammatical(override):
        return _explain_value(key, value)
    if told and _is_list(key):
        told = f"a list is written in brackets: {key}=[{value if '(' not in value else '0,1,2'}]"
    return told


def _explain_value(key: str, value: str) -> str:
    """Explain a value that Hydra can't read."""
    for opened, closed in ("[]", "{}", "()"):
        if value.count(opened) != value.count(closed):
            more, fewer = (opened, closed) if value.count(opened) > value.count(closed) else (closed, opened)
            return f"'{more}' without '{fewer}'; where the shell takes a value apart, quote the whole: '{key}=[a, b]'"
    if _is_list(key) and value[:1] == "(" and value[-1:] == ")":
        return f"a list is written in brackets: {key}=[{value[1:-1]}]"
    if value.count("'") % 2 or value.count('"') % 2:
        return "a quote is not closed"
    return f"Hydra can't read the value as it is; quote it twice: \"{key}='{value}'\""


def _is_ungrammatical(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_overrides(list(quote_home([override])))
    except HydraException:
        return True
    return False


def _explain_choice(override: str, text: str) -> str | None:
    """Explain a choice that a group does not have."""
    key, _, value = override.partition("=")
    group, choices = key.lstrip("+").split("@", 1)[0], list_choices()
    value = next((part for part in value.split(",") if f"'{group}/{part}'" in text), value)
    if group not in choices or "Could not find" not in text or f"'{group}/" not in text or value in choices[group]:
        return None
    if group == "model" and "/" in value:
        return f"a model of the hub, or a folder, is asked with model=hub model.name=NAME model.path={value}"
    if group == "data" and ("/" in value or "." in value):
        return f"data= says how images are stored, and data.path= where: such as data=manifest data.path={value}"
    return f"no {group} '{value}'; {suggest(value, choices[group])}"


def _explain_key(override: str, text: str, overrides: Sequence[str]) -> str | None:
    """Explain a key that there is not."""
    key = override.split("=", 1)[0].lstrip("+~").split("@", 1)[0]
    if not key or (f"'{key}'" not in text and f"Key '{key.split('.')[-1]}'" not in text):
        return None
    if key.startswith("hydra"):
        return f"no '{key}' is installed, nor needed: studies run by cluster=slurm or cluster=local, set by cluster.*"
    key = _find_inner_key(key, override.partition("=")[2], list(list_defaults(overrides)))
    group, _, name = key.partition(".")
    having = _list_choices_with(key)
    if having and key not in list_keys():
        return f"the chosen {group} has no '{name}'; it is a setting of {', '.join(having)}"
    if key in list_keys():
        return f"the chosen {group} has no '{name}'; `--cfg job` prints what it has"
    chosen = list(list_defaults(overrides))
    meant = find_key(key, chosen)
    if meant is not None:
        return f"no key '{key}'. Did you mean '{meant}'?"
    near = [known for known in chosen if known.startswith(f"{key.rpartition('.')[0]}.")]
    keys = near or [known for known in chosen if known.startswith(f"{group}.")] or list(_list_top_level())
    shown = ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
    return f"no key '{key}'; there are {shown}; `--cfg job` prints all"


def _find_inner_key(key: str, value: str, known: Sequence[str]) -> str:
    """Give the key that is missing within a group of keys, where one is set as `{a: 1, b: 2}`."""
    inner = re.findall(r"[{,]\s*([\w-]+)\s*:", value) if any(name.startswith(f"{key}.") for name in known) else []
    return next((f"{key}.{name}" for name in inner if f"{key}.{name}" not in known), key)


def _is_list(key: str) -> bool:
    value: Any = load_default()
    for part in key.lstrip("+").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return isinstance(value, list) or key in {"arms", "cluster.gpus"}


def _list_top_level() -> Iterable[str]:
    return sorted({*list_choices(), *load_default()})


def _list_choices_with(key: str) -> list[str]:
    """Give the choices of a group that have a key of it: `data.path` is of data=manifest and others."""
    from omegaconf import OmegaConf

    group, _, name = key.partition(".")
    folder = find_config_dir() / group
    if not name or not folder.is_dir():
        return []
    files: list[Path] = sorted(folder.glob("*.yaml"))
    loaded = {file.stem: OmegaConf.to_container(OmegaConf.load(file), resolve=False) for file in files}
    return [f"{group}={choice}" for choice, plain in loaded.items() if name in flatten(plain)]

"""What other tools' verbs and options are called here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cg_lab.errors import UserError, suggest

OTHER_VERBS = {
    "browse": "view",
    "clean": "gc",
    "compare": "report",
    "eval": "sweep",
    "evaluate": "sweep",
    "fit": "sweep",
    "init": "plan",
    "kill": "cancel",
    "list": "studies",
    "log": "logs",
    "ls": "studies",
    "mlflow": "ui",
    "monitor": "status",
    "multirun": "sweep",
    "ps": "status",
    "rerun": "retry",
    "results": "report",
    "resume": "sweep",
    "run": "sweep",
    "sbatch": "sweep",
    "scancel": "cancel",
    "squeue": "status",
    "start": "sweep",
    "stop": "cancel",
    "submit": "sweep",
    "train": "sweep",
    "watch": "status",
}
_SLURM = "Slurm's settings are keys of the configuration: cluster=slurm"
_GOES_ON = "the same command goes on where it stopped"
_PLAN = "`plan` says what `sweep` would do, and runs nothing"
_COMPLETION = 'eval "$(python -m cg_lab completion bash)" completes for this shell; zsh and fish have theirs'
OTHER_OPTIONS = {
    "account": f"{_SLURM} cluster.account=NAME",
    "array": "`sweep cluster=slurm` makes arrays itself, cluster.slots=N tasks at once",
    "bf16": "precision follows from the GPU and its memory (docs/models.md); there is nothing to set",
    "config": "--config-dir FOLDER adds a folder of configuration, --config-name NAME takes another primary one",
    "config-path": "--config-dir FOLDER adds a folder of configuration, --config-name NAME takes another primary one",
    "continue": _GOES_ON,
    "cpus-per-task": f"{_SLURM} cluster.cpus=N",
    "debug": "cluster=debug runs under a debugger, and `logs JOB` shows what a job wrote",
    "deepspeed": "several GPUs train one fine-tune with cluster.gpus=N; whole or sharded weights follow",
    "dependency": "`sweep cluster=slurm` submits evaluations behind their fine-tunes itself",
    "dry-run": _PLAN,
    "dryrun": _PLAN,
    "experimental-rerun": "every run is kept and goes on: give the same command again",
    "force": "`sweep --replace` makes a begun study another, `retry` runs jobs again",
    "fp16": "precision follows from the GPU and its memory (docs/models.md); there is nothing to set",
    "gres": f"{_SLURM} cluster.gpus=N",
    "hydra-help": "`--help` lists groups and choices, `--cfg all` prints the configuration with Hydra's own part",
    "jobs": "jobs at once are cluster.slots=N",
    "load-in-4bit": "quantised weights are not trained; finetune=lora takes a small part of the memory",
    "load-in-8bit": "quantised weights are not trained; finetune=lora takes a small part of the memory",
    "local-rank": "several GPUs need no launcher: cluster.gpus=N",
    "lora": "low-rank adapters are finetune=lora",
    "mem": f"{_SLURM} cluster.memory_gb=N",
    "mixed-precision": "precision follows from the GPU and its memory (docs/models.md); there is nothing to set",
    "nodes": f"{_SLURM} cluster.nodes=N",
    "num-workers": "jobs at once are cluster.slots=N",
    "overwrite": "`sweep --replace` makes a begun study another, `retry` runs jobs again",
    "partition": f"{_SLURM} cluster.partition=NAME",
    "push-to-hub": "weights are kept in results/jobs/<id>/model, in the hub's format: `hf upload NAME FOLDER`",
    "qos": f"{_SLURM} cluster.qos=NAME",
    "quiet": "`--json` prints what a reading verb says for programs; redirect the rest",
    "report-to": "results go to MLflow: tracking=mlflow tracking.uri=URI, or tracking=none",
    "resume": _GOES_ON,
    "resume-from-checkpoint": _GOES_ON,
    "sc": _COMPLETION,
    "shell-completion": _COMPLETION,
    "time": f"{_SLURM} cluster.timeout_min=N",
    "use-peft": "low-rank adapters are finetune=lora",
    "verbose": "`logs JOB` shows what a job wrote, `explain CELL` why it is there",
    "wandb": "results go to MLflow: tracking=mlflow tracking.uri=URI, or tracking=none",
    "wait": "`sweep` waits; `sweep --detach` submits and leaves",
    "yes": "no verb asks anything",
}


def check_verb(argv: Sequence[str], verbs: Iterable[str]) -> None:
    """Refuse a command line that does not begin with a verb.

    Raises
    ------
    UserError
        With the verb that was meant.

    """
    words = [part for part in argv if not part.startswith("-")]
    if argv and argv[0].startswith("-"):
        return
    if not words or "=" in words[0] or words[0].startswith("~"):
        raise UserError("say what to do first: `plan` what a study would do, `sweep` to do it; --help lists all verbs")
    verb = words[0]
    if verb not in verbs:
        meant = OTHER_VERBS.get(verb)
        raise UserError(f"no verb '{verb}'; " + (f"here that is `{meant}`" if meant else suggest(verb, verbs)))


def check_spacing(overrides: Iterable[str]) -> None:
    """Refuse a value without a key, as spaces around '=' make it.

    Raises
    ------
    UserError
        With how settings are written.

    """
    for part in overrides:
        if part.startswith("="):
            raise UserError(f"'{part}': settings are written KEY=VALUE, without spaces around '='")


def explain_word(verb: str, word: str) -> str:
    """Say of a word that a verb does not take how it would be given."""
    from cg_lab.config.folder import list_choices
    from cg_lab.config.refusals import find_key

    stem = Path(word).stem
    key, _, value = word.partition(":")
    if stem in list_choices()["experiment"]:
        right = f"an experiment is chosen with experiment={stem}"
    elif find_key(key) == key:
        right = f"settings are written KEY=VALUE, as {key}={value or 'VALUE'}"
    elif verb in {"explain", "logs", "recommend"}:
        right = "one is explained, shown or ranked at a time, and settings are written KEY=VALUE"
    else:
        right = f"a study is named with study={word}, and other settings are written KEY=VALUE"
    return f"`{verb}` does not take '{word}'; {right}"


def explain_options(verb: str, unknown: Sequence[str], known: Iterable[str]) -> str:
    """Say of options that a verb does not have what they are here."""
    from cg_lab.config.refusals import find_key

    told: list[str] = []
    for part in unknown:
        if not part.startswith("-") or part.lstrip("-").isdecimal():
            continue  # the value of the option before
        name = part.partition("=")[0].lstrip("-").replace("_", "-")
        near = [option for option in known if option.startswith("--") and option.lstrip("-") == name]
        key = find_key(name) if len(name) > 1 else None
        if name in OTHER_OPTIONS:
            told.append(f"'{part}': {OTHER_OPTIONS[name]}")
        elif key and not near:
            told.append(f"'{part}': settings are written KEY=VALUE, as {key}=...")
        else:
            told.append(f"'{part}': `{verb}` has no such option; {suggest(f'--{name}', known)}")
    return "; ".join(told) or f"`{verb}` does not take {' '.join(unknown)}"

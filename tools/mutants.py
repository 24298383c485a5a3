"""Mutation testing with mutmut: break each rule in every small way, and see whether tests of its own package notice.

Each package gets a folder under `.mutants/`, in which mutmut runs against that package's fast tests and the doctests of
the modules alone. What was killed is remembered there until its function changes; survivors are tried again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import libcst as cst
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_mutant_name, orig_function_and_class_names_from_key
from rich.console import Console
from rich.table import Column, Table

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".mutants"
FAST = "not slow and not browser and not slurm and not gpu"
COPIED = ("benchmarks", "conf", "experiments", "tests")
"""What tests need beside the package."""
QUICK = ("-p", "fastest_first", "-p", "no:cacheprovider", "-p", "no:unraisableexception")
"""Options of pytest, which is started for each mutant."""
KILLED = {"killed", "timeout", "segfault"}
UNTRIED = "not checked"
KEPT_DECORATORS = {"staticmethod", "classmethod"}
"""mutmut mutates functions with these, and no others with decorators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """The modules of a package that hold rules, and the tests that have to keep them."""

    modules: list[str]
    tests: list[str]
    without: list[str] = field(default_factory=list[str])
    """Tests among them that take seconds over a whole, which no mutant should wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What tools/mutants.toml says."""

    least_share: float
    packages: dict[str, dict[str, list[str]]]
    everywhere: list[dict[str, str]]
    survivors: list[dict[str, Any]]

    def explain(self, mutant: Mutant) -> dict[str, Any] | None:
        """Give what is written down about why a mutant survives; of those that no test ran at all there is nothing."""
        if mutant.status != "survived":
            return None
        for rule in self.everywhere:
            if mutant.now in {
                mutant.was[:place] + rule["now"] + mutant.was[place + len(rule["was"]) :]
                for place in range(len(mutant.was))
                if mutant.was.startswith(rule["was"], place)
            }:
                return rule
        for known in self.survivors:
            if (known["module"], known["function"]) == (mutant.module, mutant.function) and (
                f"{mutant.was} => {mutant.now}" in known["mutants"]
            ):
                return known
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One small change of one function, and what the tests made of it."""

    module: str
    function: str
    was: str
    now: str
    """The changed lines before and after, without what stands around them."""
    status: str


class _UnwrapDecorators(cst.CSTTransformer):
    """Write `@decorate` above a function as a call below it, since mutmut passes over functions with decorators."""

    def leave_FunctionDef(
        self,
        original_node: cst.FunctionDef,
        updated_node: cst.FunctionDef,
    ) -> cst.FunctionDef | cst.FlattenSentinel[cst.BaseStatement]:
        names = {cst.Module([]).code_for_node(decorator.decorator) for decorator in updated_node.decorators}
        if not names or names & KEPT_DECORATORS or any(name.endswith(".setter") for name in names):
            return updated_node
        call: cst.BaseExpression = cst.Name(updated_node.name.value)
        for decorator in reversed(updated_node.decorators):
            call = cst.Call(decorator.decorator, [cst.Arg(call)])
        applied = cst.SimpleStatementLine([cst.Assign([cst.AssignTarget(updated_node.name)], call)])
        return cst.FlattenSentinel([updated_node.with_changes(decorators=[]), applied])


def main() -> int:
    """Run what is asked for, print the table and the survivors that nobody explains."""
    settings = Settings(**tomllib.loads((ROOT / "tools" / "mutants.toml").read_text(encoding="utf-8")))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="files; all that tools/mutants.toml lists if none is given")
    parser.add_argument("--show", action="store_true", help="make the table from what was found before")
    parser.add_argument("--sample", type=int, help="try so many of each module, and last time's survivors")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="mutants that are tried at once")
    given = parser.parse_args()
    listed = {package: Tests(**lists) for package, lists in settings.packages.items()}
    known = {module for tests in listed.values() for module in tests.modules}
    if wrong := set(given.modules) - known:
        parser.error(f"not in tools/mutants.toml: {', '.join(sorted(wrong))}")
    if wrong := _find_missing(settings, listed):
        parser.error(f"tools/mutants.toml lists what there is not: {', '.join(wrong)}")
    mutants: list[Mutant] = []
    for package, tests in listed.items():
        modules = [module for module in tests.modules if not given.modules or module in given.modules]
        if modules and not given.show:
            _run_mutmut(WORK / package, tests, modules, workers=given.workers, sample=given.sample)
        mutants += [mutant for module in modules for mutant in _read_mutants(WORK / package, module)]
    chosen = [module for tests in listed.values() for module in tests.modules if module in (given.modules or known)]
    return _report(settings, chosen, mutants)


def _find_missing(settings: Settings, listed: dict[str, Tests]) -> list[str]:
    """List the files, tests and functions that the settings name although there are none."""
    files = {name for tests in listed.values() for name in (*tests.modules, *tests.tests)}
    files |= {known["module"] for known in settings.survivors}
    missing = {name for name in files if not (ROOT / name).exists()}
    for tests in listed.values():
        for test in tests.without:
            file, _, name = test.partition("::")
            if not (ROOT / file).exists() or f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8"):
                missing.add(test)
    for known in settings.survivors:
        if known["module"] in missing:
            continue
        source = (ROOT / known["module"]).read_text(encoding="utf-8")
        if f"def {known['function'].rpartition('.')[2]}(" not in source:
            missing.add(f"{known['module']}::{known['function']}")
    return sorted(missing)


def _run_mutmut(folder: Path, tests: Tests, modules: list[str], *, workers: int, sample: int | None) -> None:
    """Bring a package's folder up to date and let mutmut try every mutant that was not killed yet."""
    (folder / "mutants").mkdir(parents=True, exist_ok=True)
    for source in (ROOT / "cg_lab").rglob("*"):
        target = folder / source.relative_to(ROOT)
        if source.is_dir() or "__pycache__" in source.parts:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        content = source.read_bytes()
        if str(source.relative_to(ROOT)) in modules:
            content = cst.parse_module(content).visit(_UnwrapDecorators()).bytes
        if not target.exists() or target.read_bytes() != content:  # mutmut goes by times
            target.write_bytes(content)
    for name in COPIED:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(ROOT / name)
        shutil.rmtree(folder / "mutants" / name, ignore_errors=True)
    without = [f"--deselect={test}" for test in tests.without]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    options = {
        "source_paths": ["cg_lab"],
        "only_mutate": modules,
        "also_copy": list(COPIED),
        "pytest_add_cli_args_test_selection": [*tests.tests, *modules],
        # Copies of a function have its examples too; the function itself runs them.
        "pytest_add_cli_args": ["-m", FAST, "-k", "not __mutmut_", *QUICK, *without],
        # Of the tests' own time, fixtures left out; a mutant that never ends is tried again in the next run.
        "timeout_constant": 10.0,
        "timeout_multiplier": 3.0,
        "use_git_change_detection": False,
        # A server that has only collected the tests: what the tests compute stays out of the caches that mutants see.
        "process_isolation": "forkserver",
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in options.items()]
    (folder / "pyproject.toml").write_text("\n".join([project, "[tool.mutmut]", *lines]) + "\n", encoding="utf-8")
    (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)  # tests may have changed
    drawn: list[str] = []
    for module in modules:
        drawn += _draw(folder, module, sample or 0)
        made, meta = folder / "mutants" / module, folder / "mutants" / f"{module}.meta"
        if made.exists() and "__mutmut_" not in made.read_text(encoding="utf-8"):
            made.unlink()  # a run over other modules left it whole, and mutmut would take it for done
        if meta.exists():
            facts = json.loads(meta.read_text(encoding="utf-8"))
            codes = facts["exit_code_by_key"]
            drawn += [name for name, code in codes.items() if status_by_exit_code[code] not in {*KILLED, UNTRIED}]
            facts["exit_code_by_key"] = {
                name: code if status_by_exit_code[code] == "killed" else None for name, code in codes.items()
            }
            meta.write_text(json.dumps(facts), encoding="utf-8")
    shutil.copy(Path(__file__).with_name("fastest_first.py"), folder / "mutants")
    mutmut = Path(sys.executable).parent / "mutmut"
    environment = {**os.environ, "PYTHONPATH": str(folder / "mutants"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [mutmut, "run", "--max-children", str(workers), *(drawn if sample is not None else ())]
    subprocess.run(command, cwd=folder, env=environment, check=True)


def _draw(folder: Path, module: str, sample: int) -> list[str]:
    """Draw mutants by their names, so that the next run of as many tries the same."""
    if not sample:
        return []
    with contextlib.chdir(folder):  # where mutmut looks for its settings
        found = mutate_file_contents(module, Path(module).read_text(encoding="utf-8"))
    names = [get_mutant_name(Path(module), name) for name in found.mutant_names]
    return sorted(names, key=lambda name: sha256(name.encode()).digest())[:sample]


def _read_mutants(folder: Path, module: str) -> list[Mutant]:
    meta = folder / "mutants" / f"{module}.meta"
    if not meta.exists():
        return []
    codes: dict[str, int | None] = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    mutants: list[Mutant] = []
    with contextlib.chdir(folder):
        for name, code in codes.items():
            status = status_by_exit_code[code]
            diff = "" if status in {*KILLED, UNTRIED} else get_diff_for_mutant(name, path=module)
            lines = diff.splitlines()[2:]
            mutants.append(
                Mutant(
                    module=module,
                    function=".".join(part for part in orig_function_and_class_names_from_key(name)[::-1] if part),
                    was=" ".join(line[1:].strip() for line in lines if line.startswith("-")),
                    now=" ".join(line[1:].strip() for line in lines if line.startswith("+")),
                    status=status,
                )
            )
    return mutants


def _report(settings: Settings, chosen: list[str], mutants: list[Mutant]) -> int:
    """Print what was found; 1 if a survivor has no reason, too few were killed, or a module was not tried at all."""
    counted = ("mutants", "tried", "killed", "equivalent", "share", "explained", "open")
    table = Table("module", *(Column(name, justify="right") for name in counted))
    is_good = True
    for package, of_package in groupby(mutants, key=lambda mutant: str(Path(mutant.module).parent)):
        listed = tuple(of_package)
        for module, of_module in groupby(listed, key=lambda mutant: mutant.module):
            _add_row(table, settings, module, tuple(of_module))
        is_good &= _add_row(table, settings, f"[bold]{package}", listed) >= settings.least_share
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    unexplained = [
        mutant for mutant in mutants if mutant.status not in {*KILLED, UNTRIED} and not settings.explain(mutant)
    ]
    for (module, function), group in groupby(unexplained, key=lambda mutant: (mutant.module, mutant.function)):
        print(f'\n[[survivors]]\nmodule = "{module}"\nfunction = "{function}"\nreason = ""\nmutants = [')
        for mutant in group:
            print(f"    {json.dumps(f'{mutant.was} => {mutant.now}', ensure_ascii=False)},  # {mutant.status}")
        print("]")
    left = set(chosen) - {mutant.module for mutant in mutants if mutant.status != UNTRIED}
    if left:
        print(f"\nnot tried: {', '.join(sorted(left))}")
    return 0 if is_good and not unexplained and not left else 1


def _add_row(table: Table, settings: Settings, name: str, mutants: tuple[Mutant, ...]) -> float:
    """Add what became of some mutants; the share is of those that change anything."""
    tried = [mutant for mutant in mutants if mutant.status != UNTRIED]
    survivors = [mutant for mutant in tried if mutant.status not in KILLED]
    reasons = [reason for mutant in survivors if (reason := settings.explain(mutant))]
    equivalent = sum(reason.get("equivalent", True) for reason in reasons)
    killed, explained = len(tried) - len(survivors), len(reasons) - equivalent
    share = killed / max(1, len(tried) - equivalent)
    counts = (len(mutants), len(tried), killed, equivalent, f"{share:.1%}", explained, len(survivors) - len(reasons))
    table.add_row(name, *map(str, counts))
    return share


if __name__ == "__main__":
    sys.exit(main())

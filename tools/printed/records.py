"""Tables of what benchmarks measured: benchmarks/records/ has a file for each, and a run writes its rows anew.

python -m tools.printed.records benchmarks/report.py --cells 1000    # then: make docs
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tools.printed.effects import join_row
from tools.printed.marks import Writer

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks" / "records"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One figure, and where it is from."""

    what: str
    figure: str
    floor: str = ""
    date: str
    """As far as it is known, as in 2026-11."""
    machine: str = ""
    is_transcribed: bool = False
    """Taken over from the page as it stood before there were records."""
    command: str
    """As the page has it."""
    reads: str = ""
    """Pattern of what the command prints, with named groups; without it no run writes the figure."""
    tells: str = ""
    """The figure, made of those groups."""


def read_records(path: Path) -> list[Record]:
    """Read the rows of a table."""
    return [Record(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def list_writers(folder: Path = RECORDS) -> dict[str, Writer]:
    """Give a writer for each table, by the kind that its mark names."""
    return {f"record {path.stem}": partial(_fill_table, path) for path in sorted(folder.glob("*.json"))}


def _fill_table(record: Path, _: Path, __: str) -> str:
    rows = read_records(record)
    floors = ["floor"] if any(row.floor for row in rows) else []
    lines = [join_row(["what", "figure", *floors, "measured", "command"]), "|---" * (4 + len(floors)) + "|"]
    last = ""
    for row in rows:
        command = "the same" if row.command == last else row.command
        last = row.command
        floor = [row.floor] if floors else []
        lines.append(
            join_row([row.what, row.figure, *floor, ", ".join(filter(None, (row.date, row.machine))), command])
        )
    return "".join(f"{line}\n" for line in lines)


def keep(folder: Path, command: str, printed: str, *, date: str, machine: str) -> list[str]:
    """Write the figures that a command printed into the records of it.

    Returns
    -------
    What was written, and what stays as it was since no pattern reads it.

    Raises
    ------
    ValueError
        If the command printed nothing that a record of it reads; nothing is written then.

    """
    told: list[str] = []
    tables: dict[Path, list[Record]] = {}
    for path in sorted(folder.glob("*.json")):
        tables[path] = read_records(path)
        for place, row in enumerate(tables[path]):
            if row.command != f"`{command}`":
                continue
            found = re.search(row.reads, printed, re.DOTALL)
            if found is None:
                raise ValueError(f"{path.name}: {command} printed nothing like {row.reads!r}, for: {row.what}")
            if row.reads:
                figure = row.tells.format(**found.groupdict())
                tables[path][place] = replace(row, figure=figure, date=date, machine=machine, is_transcribed=False)
            told.append(f"{row.what}: {tables[path][place].figure if row.reads else 'as it was, read by no pattern'}")
    for path, rows in tables.items():
        kept = [{name: value for name, value in asdict(row).items() if value} for row in rows]
        path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return told


def name_processor() -> str:
    """Name this machine's processor as the system does."""
    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", path.read_text(encoding="utf-8")) if path.exists() else None
    return found[1].removesuffix(" Processor") if found else platform.processor() or platform.machine()


if __name__ == "__main__":
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [sys.executable, *sys.argv[1:]]
    done = subprocess.run(call, cwd=ROOT, env=surroundings, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout)
    named = " ".join(["python", *sys.argv[1:]])
    lines = keep(RECORDS, named, done.stdout, date=f"{datetime.now(UTC):%Y-%m-%d}", machine=name_processor())
    print("\n".join(lines) or f"no record is of `{named}`")

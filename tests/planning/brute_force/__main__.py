"""Hold plans of random studies against the brute force: `python -m tests.planning.brute_force 10000`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import defaultdict
from multiprocessing import Pool
from time import monotonic

from tests.planning.brute_force.plan_rules import Tally, check_case
from tests.planning.brute_force.random_studies import Case, drop, make_case

CHUNK = 20
"""Cases that a process takes at one time."""


def try_case(case: Case) -> Tally | str:
    """Check a case; give its fault, if it has one, in words."""
    try:
        return check_case(case)
    except AssertionError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - a planner that breaks is a finding, and the others go on
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"


def shrink(case: Case) -> Case:
    """Take subsets out as long as the case fails."""
    for name in case.catalog.names:
        smaller = drop(case, name)
        if smaller is not None and isinstance(try_case(smaller), str):
            return shrink(smaller)
    return case


def try_seed(seed: int) -> tuple[int, Tally | str]:
    """Check the case of a number."""
    return seed, try_case(make_case(seed))


def main() -> int:
    """Check as many cases as asked for; 1 if one fails, with the smallest of those printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plans", type=int, help="how many plans to check; refusals are checked beside them")
    parser.add_argument("--first", type=int, default=0, help="number of the first study")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    started, tried, planned = monotonic(), 0, 0
    tallies: dict[str, list[Tally]] = defaultdict(list)
    faults: dict[int, str] = {}
    with Pool(asked.processes) as pool:
        while planned < asked.plans:
            first, tried = asked.first + tried, tried + asked.plans - planned
            for seed, found in pool.imap_unordered(try_seed, range(first, asked.first + tried), CHUNK):
                if isinstance(found, str):
                    faults[seed] = found
                else:
                    tallies[found.design].append(found)
                planned += isinstance(found, str) or not found.is_refused
            told = f"{planned} plans of {tried} studies in {monotonic() - started:.0f} s, {len(faults)} faults"
            print(told, file=sys.stderr)
    _print_table(tallies)
    if faults:
        _print_faults(faults)
    return int(bool(faults))


def _print_table(tallies: dict[str, list[Tally]]) -> None:
    print(f"{'design':<16}{'plans':>8}{'questions':>11}{'cells':>9}{'refused':>9}{'skipped':>9}")
    total = [0] * 5
    for design, parts in sorted(tallies.items()):
        counts = [
            sum(not part.is_refused for part in parts),
            sum(part.num_questions for part in parts),
            sum(part.num_cells for part in parts),
            sum(part.is_refused for part in parts),
            sum(part.num_skipped for part in parts),
        ]
        total = [one + other for one, other in zip(total, counts, strict=True)]
        print(f"{design:<16}{counts[0]:>8}{counts[1]:>11}{counts[2]:>9}{counts[3]:>9}{counts[4]:>9}")
    print(f"{'all':<16}{total[0]:>8}{total[1]:>11}{total[2]:>9}{total[3]:>9}{total[4]:>9}")


def _print_faults(faults: dict[int, str]) -> None:
    """List faults by kind, and print the smallest case of each in full."""
    by_size = sorted((len(make_case(seed).catalog.subsets), seed) for seed in faults)
    print(f"\n{len(faults)} plans are not what they should be:")
    for _, seed in by_size[:20]:
        print(f"  {seed}: {faults[seed][:300]}")
    case = shrink(make_case(by_size[0][1]))
    print(f"\nthe smallest, number {by_size[0][1]} reduced: {try_case(case)}\n{case.study}\n")
    for subset in case.catalog.subsets:
        print(subset)
    print(f"tied={case.catalog.tied} overlaps={case.catalog.overlaps}")


if __name__ == "__main__":
    sys.exit(main())

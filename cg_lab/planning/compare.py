"""Say how two plans or two jobs differ, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from cg_lab.planning.plan import Plan
from cg_lab.planning.work import EvalJob, FinetuneJob
from cg_lab.serialize import to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field with other values on the two sides."""

    path: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.path}: {self.first} -> {self.second}"


def compare_plans(first: Plan, second: Plan) -> tuple[Difference, ...]:
    """Compare two plans: settings and catalogues field by field, held-out questions, cells and jobs as sets."""
    found = [
        difference
        for name in ("study", "rule", "settings", "catalogs")
        for difference in _walk(name, to_plain(getattr(first, name)), to_plain(getattr(second, name)))
    ]
    for name, ids in (
        ("contrasts", ([part.id for part in first.contrasts], [part.id for part in second.contrasts])),
        ("cells", ([part.key for part in first.cells], [part.key for part in second.cells])),
        ("finetunes", ([job.id for job in first.finetunes], [job.id for job in second.finetunes])),
        ("evals", ([job.id for job in first.evals], [job.id for job in second.evals])),
    ):
        found += _compare_sets(name, *ids)
    by_id = {part.id: part for part in second.contrasts}
    for contrast in first.contrasts:
        if contrast.id in by_id:
            found += _walk(f"contrasts[{contrast.id}]", to_plain(contrast), to_plain(by_id[contrast.id]))
    return tuple(found)


def compare_parts(path: str, first: Any, second: Any) -> tuple[Difference, ...]:  # noqa: ANN401 - any part of a plan
    """Compare two parts of plans of one kind field by field.

    Parameters
    ----------
    path
        What the fields are named below.
    first, second
        The parts.

    """
    return tuple(_walk(path, to_plain(first), to_plain(second)))


def compare_jobs(first: FinetuneJob | EvalJob, second: FinetuneJob | EvalJob) -> tuple[Difference, ...]:
    """Compare two jobs field by field.

    >>> from cg_lab.catalog import ListedData
    >>> from cg_lab.planning.plan import Protocol
    >>> from cg_lab.study import Backbone
    >>> one = EvalJob(
    ...     data=ListedData(content="a"),
    ...     target="x",
    ...     checkpoint_of=None,
    ...     protocol=Protocol(image="blank"),
    ...     backbone=Backbone(name="m", path="m", revision="1", answer="letter"),
    ... )
    >>> from dataclasses import replace
    >>> [str(part) for part in compare_jobs(one, replace(one, target="y"))]
    ["target: 'x' -> 'y'"]
    """
    if type(first) is not type(second):
        return (Difference(path="kind", first=type(first).__name__, second=type(second).__name__),)
    return tuple(_walk("", to_plain(first), to_plain(second)))


def _walk(path: str, first: Any, second: Any) -> Iterator[Difference]:  # noqa: ANN401 - plain data of any shape
    if isinstance(first, dict) and isinstance(second, dict):
        sides = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
        for key in dict.fromkeys([*sides[0], *sides[1]]):
            yield from _walk(f"{path}.{key}" if path else str(key), sides[0].get(key), sides[1].get(key))
    elif isinstance(first, list) and isinstance(second, list):
        left, right = _name_items(cast("list[Any]", first)), _name_items(cast("list[Any]", second))
        if left is None or right is None:
            if first != second:
                yield Difference(path=path, first=_show(first), second=_show(second))
            return
        for key in dict.fromkeys([*left, *right]):
            yield from _walk(f"{path}[{key}]", left.get(key), right.get(key))
    elif first != second:
        yield Difference(path=path, first=_show(first), second=_show(second))


def _name_items(items: list[Any]) -> dict[str, Any] | None:
    """Find what names the items of a list: a part of a mixture its subset, an arm itself; None if not all."""
    named: dict[str, Any] = {}
    for item in items:
        if not isinstance(item, dict):
            return None
        parts = cast("dict[str, Any]", item)
        key = next((parts[name] for name in ("name", "subset", "id", "arm") if isinstance(parts.get(name), str)), None)
        if key is None:
            return None
        named[f"{key} {parts.get('variant', '')}".strip() or "only"] = item
    return named


def _show(value: Any) -> str:  # noqa: ANN401
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 90 else text[:87] + "..."


def _compare_sets(name: str, first: list[str], second: list[str]) -> Iterator[Difference]:
    gone, new = sorted(set(first) - set(second)), sorted(set(second) - set(first))
    if gone or new:
        yield Difference(path=name, first=_count(gone, "only here"), second=_count(new, "only there"))


def _count(names: list[str], where: str) -> str:
    shown = ", ".join(names[:3])
    return f"{len(names)} {where}" + (f" ({shown}{', ...' if len(names) > 3 else ''})" if names else "")

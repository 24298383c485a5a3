"""What a YAML file may be before it is built: size, depth, tags, and what its aliases unfold to."""

from __future__ import annotations

import yaml

MAX_BYTES = 20_000_000
MAX_DEPTH = 20
MAX_NODES = 1_000_000
"""Once aliases are written out."""


class _Unfolding:
    """Counts the values of a text as if every alias were written out."""

    def __init__(self) -> None:
        self.open_nodes: list[tuple[str | None, int]] = []
        self.sizes: dict[str, int] = {}

    def take(self, event: yaml.Event) -> str | None:
        """Take one event; a text says what is beyond the limits."""
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            self.open_nodes.append((anchor, 1))
            return f"nested more than {MAX_DEPTH} deep" if len(self.open_nodes) > MAX_DEPTH else None
        if isinstance(event, yaml.AliasEvent):
            if anchor not in self.sizes:
                return f"alias '*{anchor}' stands in itself, or nowhere"
            return self._close(None, self.sizes[anchor])
        if isinstance(event, yaml.CollectionEndEvent):
            return self._close(*self.open_nodes.pop())
        return self._close(anchor, 1) if isinstance(event, yaml.ScalarEvent) else None

    def _close(self, anchor: str | None, size: int) -> str | None:
        if anchor is not None:
            self.sizes[anchor] = size
        if self.open_nodes:
            outer, inner = self.open_nodes[-1]
            self.open_nodes[-1] = (outer, inner + size)
        return f"aliases unfold to more than {MAX_NODES} values" if size > MAX_NODES else None


def find_excess(text: str) -> str | None:
    """Go over a YAML text, event by event, and say what is beyond the limits.

    >>> find_excess("a: !!python/object/apply:os.system [x]")
    "line 1: tag 'tag:yaml.org,2002:python/object/apply:os.system' is not read; write the value plainly"
    >>> find_excess("a: &a [x, x]") is None
    True

    Raises
    ------
    yaml.YAMLError
        If it is no YAML.

    """
    unfolding = _Unfolding()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        tag = getattr(event, "tag", None) or ""
        if tag and ("python" in tag or not tag.startswith("tag:yaml.org,2002:")):
            fault = f"tag '{tag}' is not read; write the value plainly"
        else:
            fault = unfolding.take(event)
        if fault is not None:
            return f"line {event.start_mark.line + 1}: {fault}"
    return None

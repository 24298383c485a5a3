"""Who shares what with whom, by plain sets over a catalogue; written from docs/catalogues.md."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from cg_lab.catalog import Catalog
from cg_lab.mat import Kind, Subset
from cg_lab.study import Study

Names = frozenset[str]


class Neighbourhood:
    """The subsets that a study's design looks at.

    Parameters
    ----------
    study, catalog
        Subsets of the design's kinds take part; fillers never do.

    """

    def __init__(self, study: Study, catalog: Catalog) -> None:
        self.factors = catalog.factors
        self.places = range(len(catalog.factors))
        self.subsets: dict[str, Subset] = {
            subset.name: subset
            for subset in catalog.subsets
            if subset.kind in study.design.kinds and subset.kind is not Kind.FILLER
        }
        self.values = {
            name: tuple(frozenset(values) for values in subset.elements) for name, subset in self.subsets.items()
        }
        self.is_strict = study.twins == "shared"
        self.everyone: Names = frozenset(self.subsets)
        self.filled: Names = frozenset(name for name, subset in self.subsets.items() if subset.num_train > 0)
        self._shared = {
            (one, other): frozenset(
                place for place in self.places if self.values[one][place] & self.values[other][place]
            )
            for one in self.subsets
            for other in self.subsets
        }
        self._twins: dict[str, Names] = {}
        self.copies = {(part.train, part.test) for part in catalog.overlaps or () if part.count}
        """Who is trained on samples, or patients, that whose tests have."""
        self.tied = catalog.tied if catalog.tied is not None else self._find_tied()

    def _find_tied(self) -> tuple[tuple[str, str], ...]:
        """Find values of the first two factors that occur only together."""

        def list_holders(place: int, value: str) -> Names:
            return frozenset(name for name in self.subsets if self.shows(name, place, value))

        first, second = (
            sorted({value for values in self.values.values() for value in values[place]}) for place in (0, 1)
        )
        pairs = ((one, other) for one in first for other in second)
        return tuple(pair for pair in pairs if list_holders(0, pair[0]) == list_holders(1, pair[1]))

    def shows(self, name: str, place: int, value: str) -> bool:
        """Tell whether a subset counts as an element."""
        return value in self.values[name][place]

    def can_hide(self, name: str, place: int, value: str) -> bool:
        """Tell whether a subset stands for another element: in all that it counts as, or (twins=equal) in one."""
        values = self.values[name][place]
        return value not in values if self.is_strict else bool(values - {value})

    def shared(self, one: str, other: str) -> frozenset[int]:
        """Give the factors of which two subsets share an element."""
        return self._shared[one, other]

    def shares_all(self, one: str, other: str) -> bool:
        """Tell whether two different subsets share an element of every factor."""
        return one != other and len(self.shared(one, other)) == len(self.places)

    def is_twin(self, one: str, other: str) -> bool:
        """Tell whether another subset counts as the very same."""
        if self.is_strict:
            return self.shares_all(one, other)
        return one != other and self.values[one] == self.values[other]

    def twins(self, target: str) -> Names:
        """Give the others that count as the target."""
        if target not in self._twins:
            self._twins[target] = frozenset(name for name in self.subsets if self.is_twin(target, name))
        return self._twins[target]

    def twin_group(self, target: str) -> Names:
        """Give those that count as the target, directly or over others, and itself."""
        reached, waiting = {target}, [target]
        while waiting:
            new = self.twins(waiting.pop()) - reached
            reached |= new
            waiting += new
        return frozenset(reached)

    def related(self, target: str) -> Names:
        """Give those that share an element with the target and don't count as it."""
        return frozenset(
            name
            for name in self.subsets
            if name != target and self.shared(target, name) and not self.is_twin(target, name)
        )

    def unrelated(self, target: str) -> Names:
        """Give those that share no element with the target."""
        return frozenset(name for name in self.subsets if name != target and not self.shared(target, name))

    def views(self, target: str) -> list[tuple[str, ...]]:
        """Give all that a target can stand for, its own elements first."""
        return list(product(*self.subsets[target].elements))

    def count_train(self, names: Iterable[str]) -> int:
        """Count the training samples of some subsets."""
        return sum(self.subsets[name].num_train for name in names)

    def is_askable(self, name: str) -> bool:
        """Tell whether a subset can be a target."""
        return name in self.subsets and self.subsets[name].num_test > 0

    def is_sure_to_show(
        self,
        view: tuple[str, ...],
        subsets: Iterable[str],
        num_samples: int,
        *,
        of: Iterable[str] | None = None,
        places: Iterable[int] | None = None,
    ) -> bool:
        """Tell whether so many samples, spread evenly over subsets, show every element whatever the seed draws.

        Parameters
        ----------
        view, subsets, num_samples
            What must be shown by whose samples.
        of
            Those that count as showing something; all by default.
        places
            The factors that are asked about; all by default.

        """  # fmt: skip
        filled = self.filled & frozenset(subsets)
        counting = filled if of is None else filled & frozenset(of)
        most_left_out = max(0, len(filled) - num_samples)
        return all(
            sum(self.shows(name, place, view[place]) for name in counting) > most_left_out
            for place in (self.places if places is None else places)
        )

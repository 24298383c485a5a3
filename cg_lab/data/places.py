"""Where images lie, as it is written beside a table: the table itself knows no place and may be moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from cg_lab.data.pictures import Folder, Pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the images of one source lie."""

    kind: Literal["files", "arrays", "films"]
    root: str
    unpacked: str = ""

    def open(self) -> Pictures:
        """Give what reads them."""
        match self.kind:
            case "files":
                return Folder(Path(self.root))
            case "arrays":
                from cg_lab.data.readers.medmnist import Arrays

                return Arrays(Path(self.root), Path(self.unpacked))
            case "films":
                from cg_lab.data.readers.dicom import Films

                return Films(Path(self.root))
            case _:
                assert_never(self.kind)

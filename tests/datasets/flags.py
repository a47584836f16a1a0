"""A kind of data set of a test's own, in one file: pictures of flags, one JSON file of triplets, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cir_assets.datasets.annotation_files import id_at, read_list, text_at
from cir_assets.datasets.dataset_source import DatasetSource, TestServer, WatchedFiles, local
from cir_assets.datasets.tables import (
    DATA_ISSUES,
    GALLERIES,
    NO_CATEGORY,
    PICTURES,
    TRIPLETS,
    Annotations,
    empty,
    frame,
)


class FlagsSource(DatasetSource):
    """Flags: <folder>/triplets.json and the pictures beside it."""

    test_server = TestServer("circo", "https://flags.example/")

    kind: Literal["flags"]
    folder: str = Field(description="Folder that holds triplets.json and the flags.")

    @property
    def watched(self) -> WatchedFiles:
        """All of it."""
        return WatchedFiles(local(self.folder), local(self.folder) / "triplets.json")

    def picture_root(self, folder: Path) -> Path:
        """The folder itself."""
        return local(self.folder)

    def read(self, folder: Path) -> Annotations:
        """Every picture of a triplet is the gallery of test."""
        file = local(self.folder) / "triplets.json"
        rows = [
            {
                "triplet_id": str(entry),
                "split": "test",
                "category": NO_CATEGORY,
                "reference": id_at(row, "from", f"{file}, entry {entry}"),
                "target": id_at(row, "to", f"{file}, entry {entry}"),
                "captions": [text_at(row, "change", f"{file}, entry {entry}")],
                "further_targets": [],
            }
            for entry, row in enumerate(read_list(file))
        ]
        images = sorted({str(row[role]) for row in rows for role in ("reference", "target")})
        return Annotations(
            pictures=frame(PICTURES, ({"image": image, "path": f"{image}.png"} for image in images)),
            galleries=frame(
                GALLERIES,
                (
                    {"split": "test", "category": NO_CATEGORY, "position": position, "image": image}
                    for position, image in enumerate(images)
                ),
            ),
            triplets=frame(TRIPLETS, rows),
            issues=empty(DATA_ISSUES),
            picture_root=self.picture_root(folder),
        )

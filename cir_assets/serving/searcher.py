"""One pipeline's search: a reference picture and a change in words in, the best pictures of the gallery out."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch.nn import functional

from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import pulled
from cir_assets.models.decoding import UnreadablePicture, open_picture
from cir_assets.models.preprocessing import prepare_picture
from cir_assets.models.saving import load_combiner, load_text_encoder
from cir_assets.serving.export import read_about
from cir_assets.serving.index import EXACT_UP_TO, Index

if TYPE_CHECKING:
    from cir_assets.models.settings import Padding

LONGEST_TEXT = 1_000
"""Characters; the text encoder reads far fewer."""

LARGEST_UPLOAD = 20_000_000
"""Bytes."""

KEPT_UPLOADS = 256
UPLOADED = "upload:"


class UnknownPicture(LookupError):
    """A picture that is not in the gallery, or an upload that is no longer kept."""


class RefusedInput(ValueError):
    """Text or picture that cannot be searched with; the message says what was expected."""


@dataclass(frozen=True)
class Upload:
    """A picture a person brought: its raw feature (D,), and itself, small, as JPEG."""

    feature: torch.Tensor
    thumbnail: bytes


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Attributes:
        images: picture ids, best first.
        scores: their cosines with the query.
        text_weight: the learnt lambda for this query; None for methods that learn none.
        text_weight_used: the weight after the pull.
        target_rank: place of the known target among all pictures searched, from 1; None where none was named.
        target_score: its cosine.
        searched: pictures compared.
        exact: whether all of them were.
        seconds: the search took.
    """

    images: list[str]
    scores: list[float]
    text_weight: float | None
    text_weight_used: float
    target_rank: int | None
    target_score: float | None
    searched: int
    exact: bool
    seconds: float


class Searcher:
    """A version of a pipeline's export in memory, with its models; safe to use from many threads."""

    def __init__(self, version: Path, storage_root: Path, *, exact_up_to: int = EXACT_UP_TO) -> None:
        """Load a version.

        Args:
            version: its folder.
            storage_root: what relative paths in it begin at.
            exact_up_to: pictures that are searched exactly, see ``Index``.
        """
        self.version = version.name
        self.about = about = read_about(version)
        self._padding = cast("Padding", about.padding)
        self.pictures = pl.read_parquet(version / "pictures.parquet")
        self.examples = pl.read_parquet(version / "examples.parquet")
        self.picture_root = storage_root / about.picture_root
        self.index = Index(np.load(version / "features.npy"), exact_up_to=exact_up_to)
        self._norms = torch.from_numpy(np.load(version / "norms.npy"))
        self._row = {image: row for row, image in enumerate(self.pictures["image"])}
        self.backbone = Backbone.load(storage_root / about.backbone_folder, "cpu")
        if "text_encoder" in about.models:
            load_text_encoder(storage_root / about.models["text_encoder"], self.backbone)
        self.combiner = None
        if about.method.startswith("combiner"):
            folder = storage_root / about.models[about.method]
            self.combiner = load_combiner(folder, self.backbone.feature_dimension)
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Pictures that can be found."""
        return len(self.index)

    @property
    def name(self) -> str:
        """dataset/backbone/recipe."""
        return f"{self.about.dataset}/{self.about.backbone}/{self.about.recipe}"

    @cached_property
    def rows_of_category(self) -> dict[str, torch.Tensor]:
        """Category -> rows of its pictures."""
        rows = self.pictures.with_row_index("row").group_by("category", maintain_order=True).agg("row")
        return {
            category: torch.tensor(found, dtype=torch.int64)
            for category, found in rows.drop_nulls("category").iter_rows()
        }

    def category(self, image: str) -> str | None:
        """The category of a gallery picture; None where it has none."""
        found: str | None = self.pictures["category"][self._row[image]]
        return found

    def path(self, image: str) -> Path:
        """The file of a gallery picture.

        Raises:
            UnknownPicture: when there is no such picture.
        """
        row = self._row.get(image)
        if row is None:
            raise UnknownPicture(f"{self.about.dataset} has no picture {image!r}")
        return self.picture_root / str(self.pictures["path"][row])

    def add_upload(self, content: bytes) -> str:
        """Take a picture a person brought; the newest ``KEPT_UPLOADS`` are kept.

        Returns:
            The name it can be searched with.

        Raises:
            RefusedInput: when it is too large, or no picture that opens.
        """
        if len(content) > LARGEST_UPLOAD:
            raise RefusedInput(
                f"the file has more than {LARGEST_UPLOAD / 1e6:.0f} MB; send a smaller picture"
            )
        name = UPLOADED + hashlib.sha256(content).hexdigest()[:16]
        with self._lock:
            if name in self._uploads:
                self._uploads.move_to_end(name)
                return name
        try:
            picture = open_picture(io.BytesIO(content), self.about.pixel_limit)
            pixels = prepare_picture(
                picture, self.backbone.resolution, self._padding, self.about.target_ratio
            )
        except (UnreadablePicture, OSError, ValueError, MemoryError) as error:
            raise RefusedInput(
                f"this is no picture that opens ({error}); send a JPEG, PNG, WebP or GIF"
            ) from error
        feature = self.backbone.encode_images(pixels[None])[0]
        small = picture.convert("RGB")
        small.thumbnail((320, 320), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=85)
        with self._lock:
            self._uploads[name] = Upload(feature, buffer.getvalue())
            while len(self._uploads) > KEPT_UPLOADS:
                self._uploads.popitem(last=False)
        return name

    def upload(self, name: str) -> Upload:
        """An upload by its name.

        Raises:
            UnknownPicture: when it is not, or no longer, kept.
        """
        with self._lock:
            found = self._uploads.get(name)
        if found is None:
            raise UnknownPicture(f"the upload {name!r} is no longer kept here; send the picture again")
        return found

    def reference_feature(self, reference: str) -> torch.Tensor:
        """The raw image feature (D,) of a gallery picture or an upload.

        Raises:
            UnknownPicture: when there is no such picture.
        """
        if reference.startswith(UPLOADED):
            return self.upload(reference).feature
        self.path(reference)
        row = self._row[reference]
        return self.index.features[row] * self._norms[row]

    @torch.inference_mode()
    def search(
        self,
        reference: str,
        text: str,
        *,
        top: int = 24,
        category: str | None = None,
        pull: float = 0.0,
        target: str | None = None,
    ) -> Answer:
        """The pictures most like the reference with the change applied; the reference itself is left out.

        Args:
            reference: id of a gallery picture, or the name of an upload.
            text: what should differ.
            top: how many pictures.
            category: only pictures of it.
            pull: -1, the picture alone, to 1, the text alone; at 0 the learnt weight.
            target: id of the picture known to be meant; its rank is told.

        Raises:
            UnknownPicture: when reference or target are not there.
            RefusedInput: when the text is empty or endless, or there is no such category.
        """
        started = time.perf_counter()
        text = checked_text(text)
        if category is not None and category not in self.rows_of_category:
            raise RefusedInput(
                f"{self.about.dataset} has no category {category!r}; it has {', '.join(self.rows_of_category)}"
            )
        image = self.reference_feature(reference)[None]
        words = self.backbone.text_features([text])
        if self.combiner is not None:
            query, weight = self.combiner.combine(image, words, pull)
            learnt: float | None = float(weight)
            used = float(pulled(weight, pull))
        else:
            learnt, used = None, float(pulled(torch.tensor(0.5), pull))
            query = functional.normalize(2 * used * words + 2 * (1 - used) * image, dim=1)
        query = query[0]
        among = None if category is None else self.rows_of_category[category]
        itself = self._row.get(reference)
        found = self.index.search(query, top, among=among, without=itself)
        rank = score = None
        if target is not None:
            rank, score = self._rank(query, target, among, itself)
        return Answer(
            images=self.pictures["image"].gather(found.rows).to_list(),
            scores=[float(value) for value in found.scores],
            text_weight=learnt,
            text_weight_used=used,
            target_rank=rank,
            target_score=score,
            searched=len(self) if among is None else len(among),
            exact=found.exact,
            seconds=time.perf_counter() - started,
        )

    def _rank(
        self, query: torch.Tensor, target: str, among: torch.Tensor | None, itself: int | None
    ) -> tuple[int | None, float]:
        """Place and score of the target; no place where the category leaves it out, or it is the reference."""
        self.path(target)
        row = self._row[target]
        scores = self.index.scores(query)
        score = scores[row]
        rows = torch.arange(len(scores)) if among is None else among
        if row == itself or not bool((rows == row).any()):
            return None, float(score)
        others = scores[rows]
        ahead = (others > score) | ((others == score) & (rows < row))
        if itself is not None:
            ahead &= rows != itself
        return int(ahead.sum()) + 1, float(score)


def checked_text(text: str) -> str:
    """The text without white space around it.

    Raises:
        RefusedInput: when nothing is left, or it is longer than ``LONGEST_TEXT``.
    """
    text = text.strip()
    if not text:
        raise RefusedInput("say what should differ, for example: is red and has longer sleeves")
    if len(text) > LONGEST_TEXT:
        raise RefusedInput(f"the text has {len(text):,} characters; at most {LONGEST_TEXT:,} are read")
    return text

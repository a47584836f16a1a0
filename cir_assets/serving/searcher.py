"""One pipeline's search: a reference picture and a change in words in, the best pictures of the gallery out."""

from __future__ import annotations

import threading
import time
import unicodedata
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl
import torch
from numpy.dtypes import StringDType
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from cir_assets.models.backbone import Backbone
from cir_assets.models.combiner import pulled
from cir_assets.models.saving import load_combiners, load_text_encoder
from cir_assets.models.stages import TEXT_ENCODER
from cir_assets.pictures.settings import Preprocessing
from cir_assets.retrieval.methods import METHODS
from cir_assets.retrieval.ranking import place_among
from cir_assets.serving.export import BrokenExport, read_about
from cir_assets.serving.index import EXACT_UP_TO, RECALL_QUERIES, Index
from cir_assets.serving.uploads import (
    KEPT_UPLOADS,
    MOST_PIXELS,
    UPLOADED,
    RefusedInput,
    UnknownPicture,
    Uploads,
)

if TYPE_CHECKING:
    from cir_assets.pictures.settings import Padding

LONGEST_TEXT = 1_000
"""Characters; the text encoder reads far fewer."""

COLUMNS = {
    "pictures.parquet": {"image", "path", "category", "image_key"},
    "examples.parquet": {"query_id", "reference", "caption", "target", "category"},
}


class UnknownName(RefusedInput):
    """A data set or a pipeline that is not there; the message names those that are."""


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Attributes:
        images: picture ids, best first.
        scores: their cosines with the query.
        categories: theirs, None where a picture has none.
        copies: of each, how many further pictures of the gallery are exact copies.
        text_weight: the learnt lambda for this query; None for methods that learn none.
        text_weight_used: the weight after the pull.
        target_rank: place of the known target among all pictures searched, from 1; None where none was named.
        target_score: its cosine.
        target_image: the picture with that rank: the target, or its exact copy that stands for it.
        searched: pictures compared.
        exact: whether all of them were.
        seconds: the search took.
    """

    images: list[str]
    scores: list[float]
    categories: list[str | None]
    copies: list[int]
    text_weight: float | None
    text_weight_used: float
    target_rank: int | None
    target_score: float | None
    target_image: str | None
    searched: int
    exact: bool
    seconds: float


class Searcher:
    """A version of a pipeline's export in memory, with its models; safe to use from many threads.

    All of it but the pictures' own files is in memory: files that are removed, replaced or damaged later change
    nothing here.

    Attributes:
        rows_of_category: category -> rows of its pictures, int64; categories by their first picture.
        examples: queries to try, a row each.
    """

    def __init__(
        self,
        version: Path,
        storage_root: Path,
        *,
        exact_up_to: int = EXACT_UP_TO,
        uploads: Uploads | None = None,
    ) -> None:
        """Load a version.

        Args:
            version: its folder.
            storage_root: what relative paths in it begin at.
            exact_up_to: pictures that are searched exactly, see ``Index``.
            uploads: pictures people brought; its own if None.

        Raises:
            BrokenExport: when a file of it is missing, half-written, of another form, or does not fit the others.
        """
        self.version = version.name
        self.about = about = read_about(version)
        if about.method not in METHODS:
            raise BrokenExport(
                version / "search.json", f"its method {about.method!r} is none of {', '.join(METHODS)}"
            )
        self._method = METHODS[about.method]
        self._weight = 0.5 if about.share is None else about.share
        pictures = _table(version / "pictures.parquet")
        self.examples = _table(version / "examples.parquet")
        self.picture_root = storage_root / about.picture_root
        features, norms = _array(version / "features.npy", 2), _array(version / "norms.npy", 1)
        if not len(features) == len(norms) == pictures.height:
            raise BrokenExport(
                version / "features.npy",
                f"{len(features):,} features and {len(norms):,} norms do not fit {pictures.height:,} pictures",
            )
        self.index = Index(features, exact_up_to=exact_up_to)
        self._norms = torch.from_numpy(norms)
        # NumPy's strings: Python's take fifty bytes more each, and a table's column costs a query each time.
        self._images = np.array(pictures["image"].to_list(), StringDType())
        self._paths = np.array(pictures["path"].to_list(), StringDType())
        self._categories = np.array(pictures["category"].to_list(), StringDType(na_object=None))
        # In order, for bisection: a dictionary would take a hundred bytes a picture more.
        self._order = pictures["image"].arg_sort().to_numpy()
        rows = pictures.with_row_index("row").group_by("category", maintain_order=True).agg("row")
        self.rows_of_category = {
            category: torch.tensor(its, dtype=torch.int64)
            for category, its in rows.drop_nulls("category").iter_rows()
        }
        self._contents = _contents(pictures["image_key"])
        _, of_content, count = np.unique(self._contents, return_inverse=True, return_counts=True)
        self._copies = (count[of_content] - 1).astype(np.int32)
        self._later_copies = torch.from_numpy(_later_copies(self._contents))
        self._distinct_of_category = {
            category: its[torch.from_numpy(~_later_copies(self._contents[its.numpy()]))]
            for category, its in self.rows_of_category.items()
        }
        try:
            self.backbone = Backbone.load(storage_root / about.backbone_folder, "cpu")
            if TEXT_ENCODER in about.models:
                load_text_encoder(storage_root / about.models[TEXT_ENCODER], self.backbone)
            folders = {model: storage_root / about.models[model] for model in self._method.models}
            self._combiners = load_combiners(folders, self.backbone.feature_dimension)
            _into_memory(self.backbone.model)
        except Exception as error:
            raise BrokenExport(version / "search.json", f"its models do not load ({error!r})") from error
        if features.shape[1] != self.backbone.feature_dimension:
            raise BrokenExport(
                version / "features.npy",
                f"its features have {features.shape[1]} numbers, {about.backbone}'s "
                f"{self.backbone.feature_dimension}",
            )
        self.uploads = uploads or Uploads()
        self._how = Preprocessing(
            self.backbone.resolution, cast("Padding", about.padding), about.target_ratio, MOST_PIXELS
        )
        self._upload_features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()
        if self.index.approximate is not None:
            self.index.measure_recall(self._composed_queries())

    def __len__(self) -> int:
        """Pictures that can be found."""
        return len(self.index)

    @property
    def name(self) -> str:
        """dataset/backbone/recipe."""
        return f"{self.about.dataset}/{self.about.backbone}/{self.about.recipe}"

    def rows(self, category: str | None = None) -> NDArray[np.int64]:
        """Rows of the gallery's pictures, or of those of one category.

        Raises:
            RefusedInput: when there is no such category, naming those there are.
        """
        if category is None:
            return np.arange(len(self))
        if category not in self.rows_of_category:
            raise RefusedInput(
                f"{self.about.dataset} has no category {category!r}; it has {', '.join(self.rows_of_category)}"
            )
        return self.rows_of_category[category].numpy()

    def described(self, rows: NDArray[np.int64]) -> tuple[list[str], list[str | None], list[int]]:
        """Ids, categories and numbers of further exact copies of the pictures of rows (n,)."""
        return self._images[rows].tolist(), self._categories[rows].tolist(), self._copies[rows].tolist()

    def category(self, image: str) -> str | None:
        """The category of a gallery picture; None where it has none.

        Raises:
            UnknownPicture: when there is no such picture.
        """
        found: str | None = self._categories[self._row(image)]
        return found

    def path(self, image: str) -> Path:
        """The file of a gallery picture.

        Raises:
            UnknownPicture: when there is no such picture.
        """
        return self.picture_root / str(self._paths[self._row(image)])

    def _row(self, image: str) -> int:
        """The row of a gallery picture."""
        place = bisect_left(self._order, image, key=self._images.__getitem__)
        if place == len(self._order) or self._images[self._order[place]] != image:
            raise UnknownPicture(f"{self.about.dataset} has no picture {image!r}")
        return int(self._order[place])

    def add_upload(self, content: bytes) -> str:
        """Take a picture a person brought, ready to be searched with: its name, see ``Uploads.add``."""
        name = self.uploads.add(content, self._how)
        self._upload_feature(name)
        return name

    def _upload_feature(self, name: str) -> torch.Tensor:
        """The raw image feature (D,) of an upload, encoded by this version's encoder once."""
        pixels = self.uploads.pixels(name, self._how)
        with self._lock:
            found = self._upload_features.get(name)
        if found is None:
            found = self.backbone.encode_images(pixels[None])[0]
            with self._lock:
                self._upload_features[name] = found
                while len(self._upload_features) > KEPT_UPLOADS:
                    self._upload_features.popitem(last=False)
        return found

    def reference_feature(self, reference: str) -> torch.Tensor:
        """The raw image feature (D,) of a gallery picture or an upload.

        Raises:
            UnknownPicture: when there is no such picture.
        """
        if reference.startswith(UPLOADED):
            return self._upload_feature(reference)
        row = self._row(reference)
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
        copies: bool = False,
        text_feature: torch.Tensor | None = None,
    ) -> Answer:
        """The pictures most like the reference with the change applied; the reference itself is left out.

        Exact copies of the reference are no answer either, and of exact copies among the pictures the first
        stands for all.

        Args:
            reference: id of a gallery picture, or the name of an upload.
            text: what should differ.
            top: how many pictures.
            category: only pictures of it.
            pull: -1, the picture alone, to 1, the text alone; at 0 the learnt weight.
            target: id of the picture known to be meant; its rank, or that of the copy that stands for it, is told.
            copies: exact copies are pictures like all others.
            text_feature: raw text feature (D,) of the text, where it was encoded already.

        Raises:
            UnknownPicture: when reference or target are not there.
            RefusedInput: when the text is empty or endless, or there is no such category.
        """
        started = time.perf_counter()
        text = checked_text(text)
        searched = self.rows(category)
        image = self.reference_feature(reference)[None]
        words = self.backbone.text_features([text]) if text_feature is None else text_feature[None]
        query, weight = self._method.compose(image, words, self._combiners, pull, self.about.share)
        query = query[0]
        used = float(pulled(torch.tensor(self._weight) if weight is None else weight, pull))
        among = None
        if category is not None:
            among = (self.rows_of_category if copies else self._distinct_of_category)[category]
        without = self._left_out(reference, category, copies=copies)
        neighbours = self.index.search(query, top, among=among, without=without)
        rank = score = meant = None
        if target is not None:
            rank, score, meant = self._rank(query, self._row(target), among, without, copies=copies)
        images, categories, further = self.described(neighbours.rows)
        return Answer(
            images=images,
            scores=neighbours.scores.tolist(),
            categories=categories,
            copies=further,
            text_weight=None if weight is None else float(weight),
            text_weight_used=used,
            target_rank=rank,
            target_score=score,
            target_image=meant,
            searched=len(searched),
            exact=neighbours.exact,
            seconds=time.perf_counter() - started,
        )

    def _left_out(self, reference: str, category: str | None, *, copies: bool) -> torch.Tensor:
        """Which rows are no answer: bool (N,)."""
        # Within a category other copies come first than in the gallery, see _distinct_of_category.
        folded = not copies and category is None
        without = self._later_copies.clone() if folded else torch.zeros(len(self), dtype=torch.bool)
        if not reference.startswith(UPLOADED):
            row = self._row(reference)
            without[row] = True
            content = self._contents[row]
        else:
            content = np.uint64(int(reference.removeprefix(UPLOADED), 16))
        if not copies:
            without |= torch.from_numpy(self._contents == content)
        return without

    @torch.inference_mode()
    def _composed_queries(self) -> torch.Tensor:
        """Unit queries (Q, D) as people ask them: pictures of the gallery with the examples' words.

        Without examples, the middle of two pictures, which like a composed query is no picture itself.
        """
        random = np.random.default_rng(0)
        drawn = torch.from_numpy(random.choice(len(self), min(RECALL_QUERIES, len(self)), replace=False))
        images = self.index.features[drawn]
        if self.examples.is_empty():
            others = torch.from_numpy(random.integers(0, len(self), len(drawn)))
            return functional.normalize(images + self.index.features[others], dim=1)
        words = self.backbone.text_features(self.examples["caption"].to_list())
        turns = torch.arange(len(drawn)) % len(words)
        return self._method.compose(
            images * self._norms[drawn, None], words[turns], self._combiners, share=self.about.share
        )[0]

    def _rank(
        self,
        query: torch.Tensor,
        target: int,
        among: torch.Tensor | None,
        without: torch.Tensor,
        *,
        copies: bool,
    ) -> tuple[int | None, float, str | None]:
        """Place, score and shown copy of the target's row; no place where category or reference leave it out."""
        scores = self.index.scores(query)
        rows = torch.arange(len(scores)) if among is None else among
        rows = rows[~without[rows]]
        meant = rows == target
        if not copies:
            meant |= torch.from_numpy(self._contents == self._contents[target])[rows]
        if not bool(meant.any()):
            return None, float(scores[target]), None
        row = int(rows[meant][0])
        place, score = place_among(query, self.index.features, rows, scores[rows], row)
        return place, score, self._images[row]


def _into_memory(model: nn.Module) -> None:
    """Copy what may still be a window on a file: a file cut short under it would end the process."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


def _contents(keys: pl.Series) -> NDArray[np.uint64]:
    """A number (N,) for each picture that exact copies, and only they, have in common.

    The first 64 of the 256 bits of its key, as an upload's name has them; where there is no key, its row.
    """
    found = keys.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64, strict=False)
    rows = pl.Series(np.arange(len(keys), dtype=np.uint64))
    return found.fill_null(rows).to_numpy(writable=True)


def _later_copies(contents: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of contents (n,) came before: bool (n,)."""
    later = np.ones(len(contents), dtype=bool)
    later[np.unique(contents, return_index=True)[1]] = False
    return later


def checked_text(text: str) -> str:
    """The text without white space around it.

    Raises:
        RefusedInput: when nothing that can be seen is left, it is no Unicode, or it is longer than ``LONGEST_TEXT``.
    """
    text = text.strip()
    # Letters, numbers, punctuation and symbols; zero-width characters and lone accents are none of these.
    if not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        raise RefusedInput("say what should differ, for example: is red and has longer sleeves")
    if not is_unicode(text):
        raise RefusedInput("the text has half a character (a lone surrogate); send whole Unicode characters")
    if len(text) > LONGEST_TEXT:
        raise RefusedInput(f"the text has {len(text):,} characters; at most {LONGEST_TEXT:,} are read")
    return text


def is_unicode(text: str) -> bool:
    """Whether every character is whole: JSON can carry half of a surrogate pair, which no encoding can."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _table(file: Path) -> pl.DataFrame:
    """A table of an export."""
    try:
        table = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BrokenExport(file, f"does not read ({error})") from error
    if lacking := COLUMNS[file.name] - set(table.columns):
        raise BrokenExport(file, f"lacks the columns {', '.join(sorted(lacking))}")
    return table


def _array(file: Path, dimensions: int) -> NDArray[np.float32]:
    """Numbers of an export, float32."""
    try:
        array = np.load(file)
    except (OSError, ValueError, EOFError) as error:
        raise BrokenExport(file, f"does not read ({error})") from error
    if array.ndim != dimensions or array.dtype != np.float32:
        raise BrokenExport(file, f"is {array.dtype} {array.shape}, not float32 of {dimensions} dimensions")
    return cast("NDArray[np.float32]", array)

"""One pipeline's search: a reference picture and a change in words in, the best pictures of the gallery out."""

from __future__ import annotations

import threading
import time
import unicodedata
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

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
from cir_assets.retrieval.methods import IMAGE_ONLY, METHODS, TEXT_ONLY
from cir_assets.retrieval.ranking import place_among
from cir_assets.serving.export import BrokenExport, read_about, shared_copy
from cir_assets.serving.index import EXACT_UP_TO, RECALL_QUERIES, Index
from cir_assets.serving.uploads import (
    KEPT_UPLOADS,
    MOST_PIXELS,
    UPLOADED,
    RefusedInput,
    UnknownPicture,
    Uploads,
)
from cir_assets.store.contracts import SEARCH_EXAMPLES, SEARCHED_PICTURES, SUGGESTIONS, Table

if TYPE_CHECKING:
    from cir_assets.pictures.settings import Padding

LONGEST_TEXT = 1_000
"""Characters; the text encoder reads far fewer, and what it did not read is told."""

UNLIKE_WEIGHT = 0.1
"""Of the middle of the pictures that are not meant, taken from the query of unit length (Rocchio, 1971). As large as it
may be: where the first pictures found are named, which lie near the one meant, a quarter already loses it."""

MOST_UNLIKE = 50

SCORES_TOGETHER = 1 << 24
"""Products of queries and pictures held at once (64 MiB)."""


class UnknownName(RefusedInput):
    """A data set or a pipeline that is not there; the message names those that are."""


@dataclass(frozen=True)
class Question:
    """What is searched for: a picture, words, or both.

    Attributes:
        reference: id of a gallery picture, or the name of an upload; None to search by words alone.
        text: what should differ, or without a reference what is looked for; None to search by the picture alone.
        top: how many pictures.
        category: only pictures of it.
        pull: -1, the picture alone, to 1, the text alone; at 0 the learnt weight.
        target: id of the picture known to be meant; its rank, or that of the copy that stands for it, is told.
        copies: exact copies are pictures like all others.
        unlike: ids of pictures that are not meant: the query moves away from them, and they are no answer.
    """

    reference: str | None = None
    text: str | None = None
    top: int = 24
    category: str | None = None
    pull: float = 0.0
    target: str | None = None
    copies: bool = False
    unlike: Sequence[str] = ()


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Attributes:
        images: picture ids, best first.
        scores: their cosines with the query.
        categories: theirs, None where a picture has none.
        copies: of each, how many further pictures of the gallery are exact copies.
        paths: their files below the picture root.
        unread: the end of the text, which the text encoder was not given; None where it read the whole.
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
    paths: list[str]
    unread: str | None
    text_weight: float | None
    text_weight_used: float
    target_rank: int | None
    target_score: float | None
    target_image: str | None
    searched: int
    exact: bool
    seconds: float


@dataclass
class _Ready:
    """A question that can be answered.

    Attributes:
        place: among those asked.
        question: with its text checked.
        image: raw feature (D,) of the reference, where there is one.
        target: row of the picture known to be meant.
        without: int64 (w,), rows that are no answer.
        query: its unit query (D,), once it is composed; with it the text's learnt weight, the weight after the pull,
            and the end of the text that was not read.
    """

    place: int
    question: Question
    image: torch.Tensor | None
    target: int | None
    without: torch.Tensor
    query: torch.Tensor | None = None
    weight: float | None = None
    used: float = 0.0
    unread: str | None = None


class Searcher:
    """A version of a pipeline's export in memory, with its models; safe to use from many threads.

    All of it but the pictures' own files is in memory: files that are removed, replaced or damaged later change
    nothing here.

    Attributes:
        rows_of_category: category -> rows of its pictures, int64; categories by their first picture.
        examples: queries to try, a row each.
        text_parameters: how many the text encoder has.
        suggestions: category, None for all -> what is often said of its pictures, the commonest first.
    """

    def __init__(
        self,
        version: Path,
        storage_root: Path,
        *,
        exact_up_to: int = EXACT_UP_TO,
        uploads: Uploads | None = None,
        shared: Path | None = None,
    ) -> None:
        """Load a version.

        Args:
            version: its folder.
            storage_root: what relative paths in it begin at.
            exact_up_to: pictures that are searched exactly, see ``Index``.
            uploads: pictures people brought; its own if None.
            shared: folder of a server's processes, for one copy of the features that they all look into; each in
                its own memory if None.

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
        pictures = _table(version, SEARCHED_PICTURES)
        self.examples = _table(version, SEARCH_EXAMPLES)
        said = _table(version, SUGGESTIONS).group_by("category", maintain_order=True)
        self.suggestions: dict[str | None, list[str]] = dict(said.agg("caption").iter_rows())
        self.picture_root = storage_root / about.picture_root
        features = _array(version / "features.npy", 2, shared)
        norms = _array(version / "norms.npy", 1)
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
        self._by_content = np.argsort(self._contents, kind="stable")
        self._later_copies = torch.from_numpy(np.flatnonzero(_later_copies(self._contents)))
        self._distinct_of_category = {
            category: its[torch.from_numpy(~_later_copies(self._contents[its.numpy()]))]
            for category, its in self.rows_of_category.items()
        }
        try:
            self.backbone = Backbone.load(storage_root / about.backbone_folder, "cpu")
            found = self.backbone.weights_digest
            if TEXT_ENCODER in about.models:
                load_text_encoder(storage_root / about.models[TEXT_ENCODER], self.backbone)
            folders = {model: storage_root / about.models[model] for model in self._method.models}
            self._combiners = load_combiners(folders, self.backbone.feature_dimension)
            _into_memory(self.backbone.model)
        except Exception as error:
            raise BrokenExport(version / "search.json", f"its models do not load ({error!r})") from error
        if found != about.backbone_version:
            raise BrokenExport(
                version / "search.json",
                f"its features were made by version {about.backbone_version} of {about.backbone}, and "
                f"{about.backbone_folder} holds version {found}",
            )
        if features.shape[1] != self.backbone.feature_dimension:
            raise BrokenExport(
                version / "features.npy",
                f"its features have {features.shape[1]} numbers, {about.backbone}'s "
                f"{self.backbone.feature_dimension}",
            )
        self.text_parameters = sum(each.numel() for each in self.backbone.text_parameters())
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

    def found(self, part: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of rows (n,) those whose picture's id has a part, whatever its case."""
        names = np.strings.lower(self._images[rows])
        found: NDArray[np.int64] = rows[np.strings.find(names, part.lower()) >= 0]
        return found

    def described(self, rows: NDArray[np.int64]) -> tuple[list[str], list[str | None], list[int], list[str]]:
        """Ids, categories, numbers of further exact copies, and files of the pictures of rows (n,)."""
        columns = (self._images, self._categories, self._copies, self._paths)
        images, categories, copies, paths = (column[rows].tolist() for column in columns)
        return images, categories, copies, paths

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

    def is_encoded(self, upload: str) -> bool:
        """Whether an upload's feature is at hand."""
        with self._lock:
            return upload in self._upload_features

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

    def search(self, reference: str | None, text: str | None, **options: Any) -> Answer:
        """The pictures most like the reference with the change applied; the reference itself is left out.

        Exact copies of the reference are no answer either, and of exact copies among the pictures the first
        stands for all.

        Args:
            reference: as ``Question`` has it.
            text: as ``Question`` has it.
            options: the others of ``Question``, by name.

        Raises:
            UnknownPicture: when reference, target, or one that is not meant, are not there.
            RefusedInput: when there is neither a picture nor a text, the text is empty or endless, or there is no
                such category.
        """
        [answer] = self.search_together([Question(reference, text, **options)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    @torch.inference_mode()
    def search_together(self, questions: Sequence[Question]) -> list[Answer | RefusedInput | UnknownPicture]:
        """Answers to many questions, or why one has none, in their order; all at once cost little more than one.

        An answer is that of asking alone but for rounding of the queries: the longest of the texts encoded together
        says how far all are padded.
        """
        started = time.perf_counter()
        outcomes: dict[int, Answer | RefusedInput | UnknownPicture] = {}
        ready: list[_Ready] = []
        for place, question in enumerate(questions):
            try:
                ready.append(self._ready(place, question))
            except (RefusedInput, UnknownPicture) as error:
                outcomes[place] = error
        self._compose(ready)
        alike: dict[tuple[str | None, bool], list[_Ready]] = {}
        for each in ready:
            alike.setdefault((each.question.category, each.question.copies), []).append(each)
        together = max(1, SCORES_TOGETHER // max(1, len(self)))
        for (category, copies), its in alike.items():
            rows = None
            if category is not None:
                rows = (self.rows_of_category if copies else self._distinct_of_category)[category]
            for start in range(0, len(its), together):
                some = its[start : start + together]
                for each, answer in zip(some, self._answers(some, rows, started), strict=True):
                    outcomes[each.place] = answer
        return [outcomes[place] for place in range(len(questions))]

    def _ready(self, place: int, question: Question) -> _Ready:
        """A question, checked and its pictures looked up."""
        if question.reference is None and question.text is None:
            raise RefusedInput("bring a picture, or say in words what is looked for")
        if question.text is not None:
            question = replace(question, text=checked_text(question.text))
        if len(question.unlike) > MOST_UNLIKE:
            raise RefusedInput(f"at most {MOST_UNLIKE} pictures can be named as not meant")
        self.rows(question.category)
        return _Ready(
            place,
            question,
            None if question.reference is None else self.reference_feature(question.reference),
            None if question.target is None else self._row(question.target),
            self._left_out(question),
        )

    def _compose(self, ready: list[_Ready]) -> None:
        """Make the queries: those of one kind together."""
        texts = [each.question.text or "" for each in ready if each.question.text is not None]
        tokens = self.backbone.tokenise(texts)
        of_text = dict(zip(texts, self.backbone.features_of_tokens(tokens), strict=True)) if texts else {}
        whole = {
            text: len(ids) < self.backbone.context_length for text, ids in zip(texts, tokens, strict=True)
        }
        nothing = torch.zeros(self.backbone.feature_dimension)
        kinds: dict[tuple[str, float], list[_Ready]] = {}
        for each in ready:
            kinds.setdefault(self._kind(each.question), []).append(each)
        for (name, pull), its in kinds.items():
            images = torch.stack([nothing if each.image is None else each.image for each in its])
            words = torch.stack([of_text.get(each.question.text or "", nothing) for each in its])
            method = METHODS[name]
            share = self.about.share if name == self.about.method else None
            queries, weights = method.compose(images, words, self._combiners, pull, share)
            alone = {IMAGE_ONLY.name: 0.0, TEXT_ONLY.name: 1.0}.get(name, self._weight)
            for row, each in enumerate(its):
                each.query = self._moved(queries[row], each.question.unlike)
                each.weight = None if weights is None else float(weights[row])
                each.used = float(pulled(torch.tensor(alone if each.weight is None else each.weight), pull))
                text = each.question.text
                each.unread = None if text is None or whole[text] else self._unread(text)

    def _kind(self, question: Question) -> tuple[str, float]:
        """How a question's query is made: by which method, and with which pull."""
        if question.text is None:
            return IMAGE_ONLY.name, 0.0
        if question.reference is None:
            return TEXT_ONLY.name, 0.0
        return self.about.method, question.pull

    def _moved(self, query: torch.Tensor, unlike: Sequence[str]) -> torch.Tensor:
        """A query (D,), away from pictures that are not meant."""
        if not unlike:
            return query
        middle = self.index.features[[self._row(image) for image in unlike]].mean(dim=0)
        return functional.normalize(query - UNLIKE_WEIGHT * middle, dim=0)

    def _unread(self, text: str) -> str | None:
        """The words of a text after those that fill the text encoder's context."""
        words = text.split()
        [whole] = self.backbone.tokenise([text])
        read = bisect_left(
            range(len(words)),
            True,
            key=lambda count: self.backbone.tokenise([" ".join(words[:count])])[0] == whole,
        )
        return " ".join(words[read:]) or None

    def _answers(self, asked: list[_Ready], rows: torch.Tensor | None, started: float) -> Iterator[Answer]:
        """Answers to questions about the same rows; all of the gallery if None."""
        queries = torch.stack([cast("torch.Tensor", each.query) for each in asked])
        top = max(each.question.top for each in asked)
        if rows is None and self.index.approximate is not None:
            every = [
                self.index.search(query, each.question.top, without=each.without)
                for query, each in zip(queries, asked, strict=True)
            ]
            scores = None
        else:
            scores = self.index.scores(queries)
            for its, each in zip(scores, asked, strict=True):
                its[each.without] = -torch.inf
            every = self.index.best(queries, scores if rows is None else scores[:, rows], top, rows)
        searched = len(self.rows(asked[0].question.category))
        for place, (each, found) in enumerate(zip(asked, every, strict=True)):
            rank = score = meant = None
            if each.target is not None:
                if scores is None:
                    own = self.index.scores(queries[place][None])[0]
                    own[each.without] = -torch.inf
                else:
                    own = scores[place]
                rank, score, meant = self._rank(queries[place], each, own, rows)
            count = each.question.top
            images, categories, copies, paths = self.described(found.rows[:count])
            yield Answer(
                images=images,
                scores=found.scores[:count].tolist(),
                categories=categories,
                copies=copies,
                paths=paths,
                unread=each.unread,
                text_weight=each.weight,
                text_weight_used=each.used,
                target_rank=rank,
                target_score=score,
                target_image=meant,
                searched=searched,
                exact=found.exact,
                seconds=time.perf_counter() - started,
            )

    def _left_out(self, question: Question) -> torch.Tensor:
        """Which rows are no answer: int64 (w,)."""
        # Within a category other copies come first than in the gallery, see _distinct_of_category.
        folded = not question.copies and question.category is None
        parts = [self._later_copies] if folded else []
        named = list(question.unlike)
        if question.reference is not None and not question.reference.startswith(UPLOADED):
            named.append(question.reference)
        elif question.reference is not None and not question.copies:
            parts.append(self._having(np.uint64(int(question.reference.removeprefix(UPLOADED), 16))))
        for image in named:
            row = self._row(image)
            parts.append(torch.tensor([row]) if question.copies else self._having(self._contents[row]))
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)

    def _having(self, content: np.uint64) -> torch.Tensor:
        """Rows of the pictures of one content: int64 (c,), ascending."""
        first, last = (
            np.searchsorted(self._contents, content, side, sorter=self._by_content)
            for side in ("left", "right")
        )
        return torch.from_numpy(self._by_content[first:last])

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
        self, query: torch.Tensor, asked: _Ready, scores: torch.Tensor, rows: torch.Tensor | None
    ) -> tuple[int | None, float, str | None]:
        """Place, score and shown copy of the target; no place where category or reference leave it out.

        Args:
            query: float32 (D,), unit length.
            asked: the question, which names a target.
            scores: float32 (N,), products with every picture, -inf where one is left out.
            rows: int64 (n,), ascending: the only ones searched; all if None.
        """
        target = cast("int", asked.target)
        meant = torch.tensor([target])
        if not asked.question.copies:
            meant = self._having(self._contents[target])
        meant = meant[~scores[meant].isneginf()]
        if rows is not None:
            meant = meant[torch.isin(meant, rows)]
        if not len(meant):
            return None, float(torch.dot(self.index.features[target], query)), None
        row = int(meant[0])
        searched = torch.arange(len(scores)) if rows is None else rows
        place, score = place_among(query, self.index.features, searched, scores[searched], row)
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


def _table(version: Path, contract: Table) -> pl.DataFrame:
    """A table of an export."""
    file = version / f"{contract.name}.parquet"
    try:
        table = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BrokenExport(file, f"does not read ({error})") from error
    if lacking := set(contract.names) - set(table.columns):
        raise BrokenExport(file, f"lacks the columns {', '.join(sorted(lacking))}")
    return table


def _array(file: Path, dimensions: int, shared: Path | None = None) -> NDArray[np.float32]:
    """Numbers of an export, float32: in memory, or a window on the copy in a folder that processes share."""
    try:
        # Of a window that is copied when it is written to, what nobody writes to is in memory once for all.
        array = np.load(file) if shared is None else np.load(shared_copy(file, shared), mmap_mode="c")
    except (OSError, ValueError, EOFError) as error:
        raise BrokenExport(file, f"does not read ({error})") from error
    if array.ndim != dimensions or array.dtype != np.float32:
        raise BrokenExport(file, f"is {array.dtype} {array.shape}, not float32 of {dimensions} dimensions")
    return cast("NDArray[np.float32]", array)

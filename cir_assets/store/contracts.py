"""The contract of every table: what a row is, and each column's name, type, unit and meaning, written once.

From it come the schema of a frame in Polars, the tables of a database with their comments, the columns the UI shows,
``docs/tables.md`` and the check of a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from cir_assets.models.stages import LABELS
from cir_assets.retrieval.methods import IMAGE_ONLY, METHODS, TEXT_ONLY

SPLITS = ("train", "val", "test")


class WrongFrame(ValueError):
    """A frame that is not as its table's contract says; the message names table, column, expected and found."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: of the column.
        dtype: its type in Polars; the type in SQL follows from it.
        meaning: for people, with the unit where it has one.
        nullable: whether it may be empty.
        among: the only values it takes; any if there are none.
    """

    name: str
    dtype: pl.DataType
    meaning: str
    nullable: bool = False
    among: tuple[str, ...] = ()

    @property
    def sql_type(self) -> str:
        """Its type in DuckDB."""
        if isinstance(self.dtype, pl.Array):
            return f"FLOAT[{self.dtype.size}]"
        return _SQL_TYPES[self.dtype]


@dataclass(frozen=True)
class Table:
    """One table or view: its name, what a row is, and its columns in order."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    def __getitem__(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]

    @property
    def schema(self) -> pl.Schema:
        """Names and types in Polars."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    def of_dimension(self, dimension: int) -> Table:
        """The same with features of that dimension, where it holds features."""
        sized = pl.Array(pl.Float32(), dimension)
        return replace(
            self,
            columns=tuple(
                replace(column, dtype=sized) if column.dtype == FEATURE else column for column in self.columns
            ),
        )

    def part(self, name: str, meaning: str, *columns: str) -> Table:
        """A table of some of its columns."""
        return Table(name, meaning, tuple(self[column] for column in columns))

    def of_data_sets(self) -> Table:
        """The same of every data set, as it is published: with the data set's name before."""
        return replace(self, columns=(DATASET, *self.columns))


def checked(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return a frame that is exactly as a table's contract says: columns, types, nulls and known values.

    Raises:
        WrongFrame: naming table, column, what was expected and what was found.
    """
    for column in table.columns:
        found = frame.schema.get(column.name)
        if found != column.dtype:
            raise _wrong_type(table, column, found)
    if frame.columns != table.names:
        raise WrongFrame(f"{table.name}: expected the columns {table.names}, found {frame.columns}")
    for column in table.columns:
        values = frame[column.name]
        if not column.nullable and values.null_count():
            raise WrongFrame(f"{table.name}: column {column.name} has {values.null_count()} empty values")
        if column.among and len(others := values.filter(~values.is_in(column.among))):
            raise WrongFrame(
                f"{table.name}: {column.name} is {others[0]!r}, expected one of {', '.join(column.among)}"
            )
    return frame


def fitted(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """A table's columns of a frame in its types, where these differ by no more than the width of a number.

    Raises:
        WrongFrame: when a column lacks or is of another kind, naming table, column, what was expected and what was
            found.
    """
    if lacking := [name for name in table.names if name not in frame.columns]:
        raise WrongFrame(
            f"{table.name} lacks the columns {', '.join(lacking)}; it has {', '.join(frame.columns)}"
        )
    columns = []
    for column in table.columns:
        values = frame[column.name]
        if not _of_one_kind(values.dtype, column.dtype):
            raise _wrong_type(table, column, values.dtype)
        try:
            columns.append(values.cast(column.dtype))
        except pl.exceptions.InvalidOperationError as error:
            raise WrongFrame(
                f"{table.name}: column {column.name} must be {column.dtype}, found {values.dtype} values that do not "
                f"fit it ({error})"
            ) from error
    return pl.DataFrame(columns)


def empty(table: Table) -> pl.DataFrame:
    """Make a frame of this table without a row."""
    return pl.DataFrame(schema=table.schema)


def frame(table: Table, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a frame of exactly this table's columns; absent keys are null."""
    return pl.DataFrame(list(rows), schema=table.schema)


def issue(kind: str, subject: str, detail: str) -> dict[str, str]:
    """One row of ``DATA_ISSUES``."""
    return {"kind": kind, "subject": subject, "detail": detail}


def _of_one_kind(found: pl.DataType, expected: pl.DataType) -> bool:
    return (
        found in (expected, pl.Null)
        or (found.is_integer() and expected.is_integer())
        or (found.is_float() and expected.is_float())
        or (found.is_temporal() and expected.is_temporal())
    )


def _wrong_type(table: Table, column: Column, found: pl.DataType | None) -> WrongFrame:
    return WrongFrame(
        f"{table.name}: column {column.name} must be {column.dtype}, found {found or 'no such column'}"
    )


def _either(names: Sequence[str]) -> str:
    """``a, b or c``."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


TEXT, TEXTS, FLAG = pl.String(), pl.List(pl.String()), pl.Boolean()
SHORT, LONG = pl.Int32(), pl.Int64()
SINGLE, DOUBLE = pl.Float32(), pl.Float64()
MOMENT = pl.Datetime("us")
FEATURE = pl.Array(pl.Float32(), 0)
"""A feature of the backbone's dimension, which no contract knows."""

_SQL_TYPES: Mapping[pl.DataType, str] = {
    TEXT: "VARCHAR",
    TEXTS: "VARCHAR[]",
    FLAG: "BOOLEAN",
    SHORT: "INTEGER",
    LONG: "BIGINT",
    SINGLE: "FLOAT",
    DOUBLE: "DOUBLE",
    MOMENT: "TIMESTAMP",
}

DATASET = Column("dataset", TEXT, "data set")
BACKBONE = Column("backbone", TEXT, "dual encoder the features come from")
RECIPE = Column("recipe", TEXT, "name of the hyper-parameters, or of where the models come from")
EVALUATION = Column("evaluation_id", TEXT, "see evaluations")
QUERY = Column("query_id", TEXT, "see triplets.triplet_id")
IMAGE = Column("image", TEXT, "the picture's id in its data set")
IMAGE_SEEN = Column("image", TEXT, "see images.image")
SPLIT = Column("split", TEXT, "train, val or test", among=SPLITS)
SEARCHED_CATEGORY = Column("category", TEXT, "'all' where a data set has none")
REFERENCE = Column("reference", TEXT, "the picture shown")
PROTOCOL = Column("protocol", TEXT, "what is searched in, read and counted; see protocols")
METRIC = Column("metric", TEXT, "recall, subset_recall, mean_average_precision or headline")
K = Column("k", SHORT, "cut-off; 0 for the headline, and for an average over the whole ranking")

IMAGES = Table(
    "images",
    "One row a picture that opens.",
    (
        IMAGE,
        Column("path", TEXT, "where it lies below the picture folder"),
        Column("image_key", TEXT, "SHA-256 of the file's bytes; equal pictures have equal keys"),
        Column("format", TEXT, "file format as found in the header"),
        Column("mode", TEXT, "colour mode: RGB, L, P, RGBA, CMYK, …"),
        Column("width", SHORT, "pixels"),
        Column("height", SHORT, "pixels"),
        Column("bytes", LONG, "size of the file"),
    ),
)

PICTURES = IMAGES.part(
    "pictures",
    "One row a picture that annotations name, before any is opened; paths are posix.",
    *("image", "path"),
)

STAT_MEMORY = Table(
    "stat_memory",
    "One row a file that a scan looked at; format, mode, width and height are null where its header does not read.",
    (
        *(replace(column, nullable=True) for column in IMAGES.columns if column is not IMAGE),
        Column("modified_ns", LONG, "modification time, nanoseconds"),
        Column("problem", TEXT, "why its header does not read; null where it does", nullable=True),
        Column("judged_by", TEXT, "what that holds under: formats and versions", nullable=True),
    ),
)

ACCEPTED_PICTURES = IMAGES.part(
    "accepted_pictures",
    "One row a picture that the last refresh found and nobody held back.",
    *("image", "image_key"),
)

GALLERIES = Table(
    "galleries",
    "One row a split, category and picture searched in.",
    (
        SPLIT,
        SEARCHED_CATEGORY,
        Column("position", SHORT, "order of the file, from 0; of equal scores the earlier is ranked first"),
        IMAGE_SEEN,
    ),
)

TRIPLETS = Table(
    "triplets",
    "One row a triplet: reference, relative captions, target.",
    (
        Column("triplet_id", TEXT, "unique in its split"),
        SPLIT,
        Column("category", TEXT, "dress, shirt, …; 'all' where a data set has none"),
        REFERENCE,
        Column("target", TEXT, "the picture meant; null where the data set keeps it secret", nullable=True),
        Column("captions", TEXTS, "relative captions as written"),
        Column("further_targets", TEXTS, "other pictures that are right too"),
        Column(
            "set_id",
            TEXT,
            "the set of look-alikes the query belongs to; null where there are none",
            nullable=True,
        ),
        Column("set_members", TEXTS, "the pictures of that set", nullable=True),
        Column(
            "shared_concept",
            TEXT,
            "what reference and targets have in common; null where nobody wrote it",
            nullable=True,
        ),
        Column(
            "reference_caption", TEXT, "what the reference shows; null where nobody wrote it", nullable=True
        ),
    ),
)

SEARCHED_PICTURES = Table(
    "pictures",
    "One row a picture searched in, in the order of the exported features.",
    (
        *(IMAGES[name] for name in ("image", "path")),
        Column("category", TEXT, "its category; null where it has none", nullable=True),
        IMAGES["image_key"],
    ),
)

SEARCH_EXAMPLES = Table(
    "examples",
    "One row a query to try.",
    (
        Column("query_id", TEXT, "see triplets.triplet_id"),
        REFERENCE,
        Column("caption", TEXT, "what should differ"),
        Column("target", TEXT, "the picture meant"),
        Column("category", TEXT, "what is searched in; null where a data set has none", nullable=True),
        Column(
            "rank",
            LONG,
            "of the target, from 1, as this was exported; null where it is not known",
            nullable=True,
        ),
    ),
)

SUGGESTIONS = Table(
    "suggestions",
    "One row a wording that relative captions often have, the most frequent first.",
    (
        Column("category", TEXT, "where it is said; null: in all together", nullable=True),
        Column("caption", TEXT, "what should differ"),
    ),
)

MISSING_PICTURES = Table(
    "missing_pictures",
    "One row a picture that is missing or does not open, split and category: what falls with it.",
    (
        IMAGE,
        SPLIT,
        SEARCHED_CATEGORY,
        Column("in_gallery", FLAG, "it was to be ranked there"),
        Column("as_reference", LONG, "triplets that show it"),
        Column("as_target", LONG, "triplets that mean it"),
        Column("triplets_lost", LONG, "those together, each once; at both pictures where both are missing"),
    ),
)

DATA_ISSUES = Table(
    "data_issues",
    "One row a thing that is wrong with the data, and what was done about it.",
    (
        Column("kind", TEXT, "missing_picture, unreadable_picture, undecodable_picture, empty_caption, …"),
        Column("subject", TEXT, "the picture or triplet"),
        Column("detail", TEXT, "what is wrong with it"),
    ),
)

IMAGE_FEATURES = Table(
    "image_features",
    "One row a picture content, preprocessing and backbone.",
    (
        Column("image_key", TEXT, "SHA-256 of the picture's bytes"),
        Column("preprocessing", TEXT, "padding and resolution"),
        Column("backbone", TEXT, "hash of the encoder's weights"),
        Column("feature", FEATURE, "raw image feature, not normalised"),
    ),
)

NOT_ENCODED = Table(
    "not_encoded",
    "One row a picture without a feature.",
    (
        *(IMAGE_FEATURES[name] for name in ("image_key", "preprocessing", "backbone")),
        Column("reason", TEXT, "why it has none"),
        Column(
            "judged_by",
            TEXT,
            "what the reason holds under; null: the picture could not be read at that moment, and is tried again",
            nullable=True,
        ),
    ),
)

EVALUATIONS = Table(
    "evaluations",
    "One row an evaluation: a method of a pipeline on a split under a protocol.",
    (
        Column("evaluation_id", TEXT, "digest of everything the evaluation was made from"),
        Column("dataset", TEXT, "data set evaluated on"),
        BACKBONE,
        RECIPE,
        Column(
            "models_from",
            TEXT,
            "data set, backbone and recipe the models were trained under, or 'published checkpoints'",
        ),
        Column("method", TEXT, f"{_either(list(METHODS))}; or the name of a ranking brought from elsewhere"),
        Column("split", TEXT, "val (which also chose the epoch) or test"),
        PROTOCOL,
        Column("text_template", TEXT, "how a query's words became the text read; see protocols.text"),
        Column("queries", SHORT, "queries ranked"),
        Column("gallery_size", SHORT, "pictures actually ranked, all categories together"),
        Column("created_at", MOMENT, "when, UTC"),
        Column("run_id", TEXT, "Dagster run that made it"),
        Column("data_version", TEXT, "fingerprint of the evaluation's inputs"),
        Column("seconds", DOUBLE, "the evaluation took; of protocols that one pass ranked, each its share"),
        Column(
            "measured_by",
            TEXT,
            "who measured it, and how it was entered, as a test server's answer; null where it was measured here",
            nullable=True,
        ),
        Column(
            "label",
            TEXT,
            "what people read for a ranking brought from elsewhere; null for the ladder's methods",
            nullable=True,
        ),
        Column(
            "share",
            DOUBLE,
            "of a method that weighs two parts, what val chose: the text's share, or the Combiner's",
            nullable=True,
        ),
        Column(
            "served_because",
            TEXT,
            "why this method of its pipeline is judged and served; null for the others",
            nullable=True,
        ),
    ),
)

PROTOCOLS = Table(
    "protocols",
    "One row a protocol: what a figure taken under it means. Figures of two protocols are never comparable.",
    (
        Column("protocol", TEXT, "its name, as in evaluations and published_results"),
        Column("meaning", TEXT, "in a sentence"),
        Column("gallery", TEXT, "what each category's gallery is made of"),
        Column("reference", TEXT, "kept or left out of each query's ranking", among=("kept", "left out")),
        Column("image_sets", FLAG, "whether the target is also ranked within the query's set of look-alikes"),
        Column("several_targets", FLAG, "whether a query may have more than one true target"),
        Column("metrics", TEXTS, "what is measured, as recall@10"),
        Column("headline", TEXTS, "the metrics whose plain mean is the headline"),
        Column("text_template", TEXT, "name of the way a query's words become the text read"),
        Column("text", TEXT, "that way, with an example"),
    ),
)

METRICS = Table(
    "metrics",
    "One row an evaluation, category and metric, in percent.",
    (
        EVALUATION,
        Column("category", TEXT, "a category, or 'mean': the plain mean over categories"),
        METRIC,
        K,
        Column("value", DOUBLE, "percent"),
        Column(
            "ci_low",
            DOUBLE,
            "lower end of the 95 % interval: bootstrap over queries, Wilson's where all or none hit",
        ),
        Column("ci_high", DOUBLE, "upper end of it"),
        Column("queries", SHORT, "queries the figure is over"),
        Column("gallery_size", SHORT, "pictures actually ranked; of the mean, all categories together"),
        Column(
            "chance",
            DOUBLE,
            "percent a ranking drawn at random gets, from the gallery's size; null in evaluations before it was taken",
            nullable=True,
        ),
    ),
)

LEFT_OUT = Table(
    "left_out",
    "One row an evaluation, category and reason: what could not take part.",
    (
        EVALUATION,
        Column("category", TEXT, "category searched in"),
        Column(
            "reason",
            TEXT,
            "gallery_picture_without_feature, reference_without_feature, target_without_feature, no_target, …",
        ),
        Column("count", SHORT, "pictures or queries, as the reason says"),
    ),
)

RANKINGS = Table(
    "rankings",
    "One row an evaluation and query: where its target came out.",
    (
        EVALUATION,
        QUERY,
        LEFT_OUT["category"],
        REFERENCE,
        Column("caption", TEXT, "the text the model read: the query's words by the protocol's template"),
        Column("target", TEXT, "the picture meant"),
        Column(
            "target_rank",
            SHORT,
            "1 is best; recall at k counts target_rank <= k; one past the end of a brought list that lacks it",
        ),
        Column(
            "target_score",
            SINGLE,
            "cosine of query and target; null in a ranking brought from elsewhere",
            nullable=True,
        ),
        Column(
            "subset_rank",
            SHORT,
            "rank among the query's set of look-alikes; null where there is none",
            nullable=True,
        ),
        Column(
            "text_weight",
            SINGLE,
            "the Combiner's lambda: weight of the text, 1 - lambda is the picture's; null for other methods",
            nullable=True,
        ),
    ),
)

RETRIEVED = Table(
    "retrieved",
    "One row an evaluation, query and rank: the 50 best pictures.",
    (
        EVALUATION,
        QUERY,
        Column("rank", SHORT, "1 is best"),
        IMAGE_SEEN,
        Column(
            "score",
            SINGLE,
            "cosine of query and picture; null in a ranking brought from elsewhere",
            nullable=True,
        ),
    ),
)

TRAINING_EPOCHS = Table(
    "training_epochs",
    "One row an epoch of a training.",
    (
        Column("dataset", TEXT, "data set trained on"),
        BACKBONE,
        Column("recipe", TEXT, "hyper-parameters"),
        Column("stage", TEXT, _either(list(LABELS))),
        Column("version", TEXT, "version of the model, the name of its folder"),
        Column("epoch", SHORT, "from 1"),
        Column("step", SHORT, "optimiser steps so far"),
        Column("loss", DOUBLE, "mean training loss of the epoch"),
        Column("learning_rate", DOUBLE, "of the epoch"),
        Column("selection_metric", DOUBLE, "headline on val in percent"),
        Column("seconds", DOUBLE, "the epoch took, validation included"),
        Column(
            "settings",
            TEXT,
            "JSON: what was chosen from the data and why; null where all was said",
            nullable=True,
        ),
    ),
)

EPOCHS = TRAINING_EPOCHS.part(
    "epochs",
    "One row an epoch, in a model's folder.",
    *("stage", "epoch", "step", "loss", "learning_rate", "selection_metric", "seconds", "settings"),
)

PROMOTIONS = Table(
    "promotions",
    "One row a decision about a pipeline's champion, the challenger's figures beside the champion's.",
    (
        DATASET,
        BACKBONE,
        RECIPE,
        Column("decided_at", MOMENT, "when, UTC"),
        Column("decision", TEXT, "promoted, refused or rolled_back"),
        Column("reason", TEXT, "the rule's words"),
        Column("challenger", TEXT, "digest of the models judged"),
        Column(
            "champion",
            TEXT,
            "digest of the models that were champion before; null for the first",
            nullable=True,
        ),
        Column("models", TEXT, "JSON: each model judged and its version, the name of its folder"),
        Column("method", TEXT, "the method compared"),
        Column("share", DOUBLE, "its share, where it has one", nullable=True),
        Column("split", TEXT, "the split compared on"),
        Column("protocol", TEXT, "the protocol whose headline was compared"),
        Column("queries", SHORT, "queries both ranked"),
        Column(
            "challenger_headline",
            DOUBLE,
            "percent; of a rollback, that of the promotion gone back to",
            nullable=True,
        ),
        Column(
            "champion_headline",
            DOUBLE,
            "percent, on the very same queries; null for the first",
            nullable=True,
        ),
        Column("difference", DOUBLE, "challenger minus champion, points", nullable=True),
        Column("difference_low", DOUBLE, "lower end of its paired 95 % bootstrap interval", nullable=True),
        Column("difference_high", DOUBLE, "upper end of it", nullable=True),
        Column("run_id", TEXT, "Dagster run that decided; null for a rollback", nullable=True),
        replace(EVALUATIONS["text_template"], nullable=True),
    ),
)

PUBLISHED_RESULTS = Table(
    "published_results",
    "Figures others published, with their source.",
    (
        Column("system", TEXT, "the method, as its paper calls it"),
        Column("venue", TEXT, "where it was published"),
        Column("year", SHORT, "when"),
        Column("backbone", TEXT, "the network it rests on"),
        Column(
            "supervision",
            TEXT,
            "supervised (trained on the data set's triplets) or zero-shot",
            among=("supervised", "zero-shot"),
        ),
        DATASET,
        SPLIT,
        replace(PROTOCOL, meaning="protocol the figure was taken under; see protocols"),
        Column("category", TEXT, "a category, or 'mean'"),
        METRIC,
        K,
        Column("value", DOUBLE, "percent"),
        Column("source", TEXT, "the publication"),
    ),
)


def _measured(name: str, meaning: str) -> Column:
    """A figure of a view, in percent; null where the protocol does not count it."""
    return Column(name, DOUBLE, meaning, nullable=True)


LEADERBOARD = Table(
    "leaderboard",
    "The newest evaluation of each pipeline, method, split and protocol, one wide row, headline first.",
    (
        *(EVALUATIONS[name] for name in ("dataset", "backbone", "recipe", "split", "protocol")),
        Column("method", TEXT, "see evaluations.method"),
        _measured(
            "headline",
            "the protocol's one figure, percent: the mean over categories of the metrics in protocols.headline",
        ),
        _measured("headline_low", "lower end of its 95 % bootstrap interval over queries"),
        _measured("headline_high", "upper end of it"),
        _measured("chance", "the headline a ranking drawn at random gets, percent"),
        _measured(
            "recall_at_1",
            "queries whose target came first, percent, mean over categories; null where the protocol "
            "does not count it, as all that follow",
        ),
        _measured("recall_at_5", "target among the first 5, percent"),
        _measured("recall_at_10", "target among the first 10, percent"),
        _measured("recall_at_10_low", "lower end of its 95 % interval"),
        _measured("recall_at_10_high", "upper end of it"),
        _measured("recall_at_50", "target among the first 50, percent"),
        _measured("recall_at_50_low", "lower end of its 95 % interval"),
        _measured("recall_at_50_high", "upper end of it"),
        _measured("subset_recall_at_1", "target first among the query's set of look-alikes, percent"),
        _measured("subset_recall_at_2", "target among the first 2 of them, percent"),
        _measured("subset_recall_at_3", "target among the first 3 of them, percent"),
        *(EVALUATIONS[name] for name in ("queries", "gallery_size", "created_at")),
        EVALUATION,
        EVALUATIONS["label"],
    ),
)

ONE_MODALITY = Table(
    "one_modality",
    "One row a method of a pipeline, split, protocol and k of recall: how many queries picture or text alone finds "
    "within k, and how many of all and of the others, which need both, the method finds.",
    (
        *(EVALUATIONS[name] for name in ("dataset", "backbone", "recipe", "split", "protocol")),
        Column("k", SHORT, "cut-off"),
        Column("method", TEXT, "see evaluations.method"),
        Column("queries", SHORT, "queries ranked, all categories together"),
        _measured(IMAGE_ONLY.name, "queries whose target the picture alone finds within k, percent"),
        _measured(TEXT_ONLY.name, "queries whose target the text alone finds within k, percent"),
        _measured("either", "queries that one of the two finds by itself, percent"),
        _measured("neither", "queries that need both, percent: 100 - either"),
        _measured("recall", "of all queries, those the method finds within k, percent"),
        Column("queries_left", SHORT, "queries that need both"),
        _measured(
            "recall_left", "of those, what the method finds within k, percent; null where none is left"
        ),
    ),
)

AGAINST_PUBLISHED = Table(
    "against_published",
    "Our newest figures beside published ones, only where data set, split, protocol, category, metric and k agree.",
    (
        *(PUBLISHED_RESULTS[name] for name in ("dataset", "split", "protocol")),
        METRICS["category"],
        METRIC,
        K,
        replace(BACKBONE, meaning=f"ours: {BACKBONE.meaning}"),
        replace(RECIPE, meaning=f"ours: {RECIPE.meaning}"),
        Column("method", TEXT, "ours: see evaluations.method"),
        Column("ours", DOUBLE, "our figure, percent"),
        Column("ci_low", DOUBLE, "lower end of its 95 % bootstrap interval over queries"),
        METRICS["ci_high"],
        Column("system", TEXT, "theirs: the method"),
        Column("published_backbone", TEXT, "theirs: the network it rests on"),
        PUBLISHED_RESULTS["supervision"],
        Column("venue", TEXT, "theirs: where it was published"),
        PUBLISHED_RESULTS["year"],
        Column("published", DOUBLE, "their figure, percent"),
        Column("difference", DOUBLE, "ours minus theirs, percentage points"),
        PUBLISHED_RESULTS["source"],
    ),
)

RESULTS = (EVALUATIONS, METRICS, LEFT_OUT, RANKINGS, RETRIEVED, TRAINING_EPOCHS)
"""What one pipeline's results file holds."""

OF_DATA_SETS = (IMAGES, GALLERIES, TRIPLETS, MISSING_PICTURES, DATA_ISSUES)
"""What each data set's folder of tables holds."""

PUBLISHED_TABLES = (
    *RESULTS,
    *(table.of_data_sets() for table in OF_DATA_SETS),
    PROMOTIONS,
    PROTOCOLS,
    PUBLISHED_RESULTS,
)
"""The tables of the published database."""

VIEWS = (LEADERBOARD, ONE_MODALITY, AGAINST_PUBLISHED)
"""Its views; their queries stand where it is published."""

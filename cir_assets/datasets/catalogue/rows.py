"""Triplets of a table's cells; what cannot be used is dropped and told, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from cir_assets.datasets.catalogue.names import PictureNames
from cir_assets.datasets.catalogue.table import Table
from cir_assets.datasets.tables import DATA_ISSUES, NO_CATEGORY, SPLITS, BrokenAnnotations

OTHER_SPLITS = {"valid": "val", "validation": "val", "dev": "val", "training": "train", "testing": "test"}
"""What else people call a split."""

RESERVED_CATEGORIES = ("mean",)
"""What published tables call the mean over categories."""

LARGEST_SET = 50
"""Pictures a set of look-alikes may hold. One of more is a season or a brand: each of its queries would list all."""

MOST_BROKEN = 10
"""Rows that may be broken in a table of which they are more than a tenth; with more it is refused as a whole."""

PLACED = pl.Schema(
    {
        "triplet_id": pl.String(),
        "line": pl.Int64(),
        "split": pl.String(),
        "category": pl.String(),
        "reference": pl.String(),
        "target": pl.String(),
        "captions": pl.List(pl.String()),
        "set_id": pl.String(),
        "set_members": pl.List(pl.String()),
        "shared_concept": pl.String(),
        "reference_caption": pl.String(),
    }
)
"""One row a row of the table that can be used; ``split`` is null in all of them where the table has none, and a row
without captions only places its pictures."""


@dataclass(frozen=True)
class Usable:
    """The frame of ``PLACED``, and one of ``DATA_ISSUES`` for what was dropped or assumed."""

    rows: pl.DataFrame
    issues: pl.DataFrame


def usable_rows(table: Table, names: PictureNames) -> Usable:
    """Make triplets of cells.

    Dropped and told, with line: a row that is broken or has no reference (``broken_row``), that names a picture which
    is not there (``unknown_picture``), that has no words (``empty_caption``), or whose target is its reference
    (``reference_is_target``). Told alone: what was assumed (``assumed``), a triplet that stands there twice
    (``repeated_triplet``), half a character or a quote that seems to be missing (``odd_text``).

    Raises:
        BrokenAnnotations: naming file and line: no row can be used; more than a tenth of them are broken; only some
            have a split, or one that is unknown; a category is named as the mean over them; a set is too large.
    """
    _refuse_a_broken_table(table)
    split_words = _check_splits(table)
    _check_categories(table)
    cells = table.cells.with_row_index("number", offset=1)
    for role in ("reference", "target"):
        cells = cells.join(_found(cells, names, role), on=role, how="left", maintain_order="left")
    why = {
        "broken": pl.col("broken").is_not_null(),
        "no reference": pl.col("reference").is_null(),
        "unknown": pl.col("reference_reason").is_not_null() | pl.col("target_reason").is_not_null(),
        "speechless": pl.col("target").is_not_null()
        & pl.col("caption").is_null()
        & pl.col("caption_2").is_null(),
        "same": pl.col("reference_picture") == pl.col("target_picture"),
    }
    cells = cells.with_columns(
        why=pl.coalesce(pl.when(holds).then(pl.lit(reason)) for reason, holds in why.items()),
        triplet_id=pl.format("row-{}", "number"),
    )
    kept = cells.filter(pl.col("why").is_null())
    dropped = _dropped(cells.filter(pl.col("why").is_not_null()), table)
    if kept.is_empty():
        raise BrokenAnnotations(
            f"{table.file}: no row names pictures that are in {names.folder}"
            + (f" (first: {dropped['detail'][0]})" if dropped.height else "")
            + "; give paths below that folder"
        )
    rows, unknown_members = _with_sets(kept, names, table)
    rows = rows.with_columns(
        pl.col("split").replace_strict(split_words, default=None, return_dtype=pl.String),
        pl.col("category").fill_null(NO_CATEGORY),
    )
    odd = kept.filter(pl.col("odd").is_not_null())
    told_issues = [
        dropped,
        unknown_members,
        _issues(odd, table, pl.lit("odd_text"), pl.format("{}; kept", "odd")),
        _repeated(rows, table),
        _assumed(table, names, split_words),
    ]
    return Usable(rows.select(list(PLACED)).cast(PLACED), pl.concat(told_issues))


def _issues(rows: pl.DataFrame, table: Table, kind: pl.Expr, detail: pl.Expr) -> pl.DataFrame:
    where = pl.format(f"{table.unit} {{}}: {{}}", "line", detail)
    return rows.select(kind=kind, subject="triplet_id", detail=where).cast(DATA_ISSUES.schema)


def _dropped(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """``DATA_ISSUES`` of rows that cannot be used, by ``why``."""
    why = pl.col("why")
    kind = why.replace_strict(
        {
            "broken": "broken_row",
            "no reference": "broken_row",
            "unknown": "unknown_picture",
            "speechless": "empty_caption",
            "same": "reference_is_target",
        },
        return_dtype=pl.String,
    )
    detail = (
        pl.when(why == "broken")
        .then("broken")
        .when(why == "unknown")
        .then(pl.concat_str("reference_reason", "target_reason", separator=", ", ignore_nulls=True))
        .when(why == "same")
        .then(pl.format("both are {}", "reference_picture"))
        .otherwise(
            pl.when(why == "speechless")
            .then(pl.lit("a target but no caption"))
            .otherwise(pl.lit("no picture under 'reference'"))
        )
    )
    return _issues(rows, table, kind, pl.format("{}; row dropped", detail))


def _refuse_a_broken_table(table: Table) -> None:
    broken = table.cells.filter(pl.col("broken").is_not_null())
    if broken.height > max(MOST_BROKEN, table.cells.height // 10):
        raise BrokenAnnotations(
            f"{table.file}: {broken.height:,} of {table.cells.height:,} rows cannot be read (first: "
            f"{table.unit} {broken['line'][0]}: {broken['broken'][0]})"
        )


def _check_splits(table: Table) -> Mapping[str, str]:
    """What each split is called here, by what the table calls it."""
    whole = table.cells.filter(pl.col("broken").is_null())
    words = {
        word: OTHER_SPLITS.get(word.casefold(), word.casefold())
        for word in whole["split"].drop_nulls().unique().to_list()
    }
    unknown = [word for word, split in words.items() if split not in SPLITS]
    if unknown:
        line, word = whole.filter(pl.col("split").is_in(unknown)).select("line", "split").row(0)
        raise BrokenAnnotations(
            f"{table.where(line)}: split is {word[:60]!r}, expected one of {', '.join(SPLITS)} "
            f"(or {', '.join(OTHER_SPLITS)})"
        )
    # An empty `split` in some rows only would leave them to chance while others are fixed.
    empty = whole["split"].is_null()
    if empty.any() and not empty.all():
        line = whole["line"].filter(empty != empty[0])[0]
        raise BrokenAnnotations(
            f"{table.where(line)}: either every row has a split or none; this one differs, "
            f"{int(empty.sum()):,} of {whole.height:,} are empty"
        )
    return words


def _check_categories(table: Table) -> None:
    whole = table.cells.filter(pl.col("broken").is_null())
    named = whole.filter(pl.col("category").str.to_lowercase().is_in(RESERVED_CATEGORIES))
    if named.height:
        line, category = named.select("line", "category").row(0)
        raise BrokenAnnotations(
            f"{table.where(line)}: a category cannot be called {category!r}, as the mean over all of them is; "
            "call it something else"
        )
    no_category = whole.filter(pl.col("category") == NO_CATEGORY)
    if no_category.height and whole["category"].null_count():
        raise BrokenAnnotations(
            f"{table.where(no_category['line'][0])}: a category cannot be called {NO_CATEGORY!r} where other rows "
            "have none, as theirs is called so; call it something else, or give every row one"
        )


def _found(cells: pl.DataFrame, names: PictureNames, role: str) -> pl.DataFrame:
    """Each text of a column once, its picture, and why there is none."""
    texts = cells[role].drop_nulls().unique(maintain_order=True).to_list()
    matches = [names.find(text) for text in texts]
    return pl.DataFrame(
        {
            role: texts,
            f"{role}_picture": [match.picture for match in matches],
            f"{role}_reason": [match.reason for match in matches],
        },
        schema=dict.fromkeys((role, f"{role}_picture", f"{role}_reason"), pl.String),
    )


def _with_sets(kept: pl.DataFrame, names: PictureNames, table: Table) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows with their pictures and sets, and issues of members that are not there.

    A set whose rows list no members holds what they name, in the order of the table.
    """
    texts = kept["members"].drop_nulls().unique(maintain_order=True)
    cells = pl.DataFrame({"members": texts, "cell": pl.arange(len(texts), eager=True)})
    listed = [names.members(text) for text in texts]
    pictures = _of_cells(found for found, _ in listed)
    rows = kept.join(cells, on="members", how="left", maintain_order="left").join(
        pictures.group_by("cell", maintain_order=True).agg(set_members="text"),
        on="cell",
        how="left",
        maintain_order="left",
    )
    rows = rows.with_columns(pl.when(pl.col("cell").is_not_null()).then(pl.col("set_members").fill_null([])))
    reasons = _of_cells(reasons for _, reasons in listed)
    unknown = _issues(
        rows.select("triplet_id", "line", "cell").join(reasons, on="cell", maintain_order="left_right"),
        table,
        pl.lit("unknown_picture"),
        pl.format("{}; left out of its set", "text"),
    )
    with_reference = (
        pl.when(pl.col("set_members").list.contains(pl.col("reference_picture")))
        .then("set_members")
        .otherwise(pl.concat_list("reference_picture", "set_members"))
    )
    rows = rows.select(
        "triplet_id",
        "line",
        "split",
        "category",
        "caption",
        "caption_2",
        "shared_concept",
        "reference_caption",
        captions=pl.concat_list("caption", "caption_2").list.drop_nulls(),
        reference="reference_picture",
        target="target_picture",
        set_id=pl.coalesce("set", pl.when(pl.col("set_members").is_not_null()).then("triplet_id")),
        set_members=pl.when(pl.col("set_members").is_not_null()).then(with_reference),
    )
    of_rows = (
        rows.filter(pl.col("set_id").is_not_null() & pl.col("set_members").is_null())
        .select("set_id", "line", image=pl.concat_list("reference", "target"))
        .explode("image")
        .drop_nulls("image")
        .unique(["set_id", "image"], keep="first", maintain_order=True)
        .group_by("set_id", maintain_order=True)
        .agg(pl.col("line").first(), of_rows=pl.col("image"))
    )
    _refuse_large_sets(of_rows.select("line", "set_id", size=pl.col("of_rows").list.len()), table)
    _refuse_large_sets(rows.select("line", "set_id", size=pl.col("set_members").list.len()), table)
    return (
        rows.join(of_rows.drop("line"), on="set_id", how="left", maintain_order="left").with_columns(
            pl.coalesce("set_members", "of_rows").alias("set_members")
        ),
        unknown,
    )


def _of_cells(texts: Iterable[Sequence[str]]) -> pl.DataFrame:
    """A row a text, with the number of the cell it is of, from 0."""
    pairs = [(cell, text) for cell, of_cell in enumerate(texts) for text in of_cell]
    cells, flat = zip(*pairs, strict=True) if pairs else ((), ())
    return pl.DataFrame({"cell": cells, "text": flat}, schema={"cell": pl.Int64, "text": pl.String})


def _refuse_large_sets(sizes: pl.DataFrame, table: Table) -> None:
    large = sizes.filter(pl.col("size") > LARGEST_SET)
    if large.height:
        line, name, size = large.select("line", "set_id", "size").row(0)
        mend = (
            "call the column split" if name.casefold() in {*SPLITS, *OTHER_SPLITS} else "leave the column out"
        )
        raise BrokenAnnotations(
            f"{table.where(line)}: set {name[:60]!r} holds {size:,} pictures; a set is the few look-alikes of a query, "
            f"at most {LARGEST_SET}: where it is a season, a brand or a split, {mend}, or list members"
        )


def _repeated(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    same = ["split", "category", "reference", "target", "caption", "caption_2"]
    repeated = (
        rows.select("triplet_id", "line", *same)
        .filter(pl.col("caption").is_not_null() | pl.col("caption_2").is_not_null())
        .filter(pl.struct(same).is_duplicated())
        .with_columns(first=pl.col("line").first().over(same))
        .filter(pl.col("first") < pl.col("line"))
    )
    says = pl.format(f"says the same as {table.unit} {{}}; kept", "first")
    return _issues(repeated, table, pl.lit("repeated_triplet"), says)


def _assumed(table: Table, names: PictureNames, split_words: Mapping[str, str]) -> pl.DataFrame:
    def sentences() -> Iterator[str]:
        yield from table.assumed
        for word, split in sorted(split_words.items()):
            if word.casefold() != split:
                yield f"split {word} is read as {split}"
        yield from names.forms_used()

    return pl.DataFrame(
        [("assumed", table.file.name, sentence) for sentence in sentences()],
        schema=DATA_ISSUES.schema,
        orient="row",
    )

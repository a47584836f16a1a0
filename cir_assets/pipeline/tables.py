"""``<dataset>/images`` and ``<dataset>/triplets``: the tables everything below is made from."""

from __future__ import annotations

from dataclasses import asdict

import polars as pl

from cir_assets.datasets.tables import ABOUT_FILES
from cir_assets.pipeline.checks import (
    BATCHES_FILLED,
    CAPTIONS_PRESENT,
    PICTURES_READABLE,
    PROTOCOLS_APPLICABLE,
    SPLITS_DISJOINT,
    TRIPLET_PICTURES_PRESENT,
    Asked,
)
from cir_assets.pipeline.identity import DatasetPlan
from cir_assets.pipeline.scanning import scan
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.store.contracts import DATA_ISSUES, GALLERIES, IMAGES, MISSING_PICTURES, TRIPLETS
from cir_assets.store.digests import digest, digest_frame
from cir_assets.store.made import Made, versions_of
from cir_assets.store.tables import read_table, write_table


def images_step(data: DatasetPlan) -> Step:
    """Which pictures there are, in which galleries, and which are broken."""

    def plan(work: Work) -> Plan:
        return Plan(versions_of(work.storage, data.name("raw")), lambda _: make_images(work, data))

    configuration = {"source": data.source.model_dump(mode="json"), "pixel_limit": data.pixel_limit}
    return Step(data.name("images"), 2, plan, configuration)


def make_images(work: Work, data: DatasetPlan) -> Made:
    """Write the tables of pictures that open, of galleries, of what is missing and what is wrong."""
    from cir_assets.datasets.missing import missing_pictures

    annotations, pictures, issues = scan(work, data)
    galleries = annotations.galleries.join(pictures.select("image"), on="image", how="semi")
    missing = missing_pictures(annotations, pictures)
    folder = work.storage.tables(data.dataset)
    return Made(
        data_version=digest(
            {
                "images": digest_frame(pictures),
                "galleries": digest_frame(galleries),
                "issues": digest_frame(issues),
            }
        ),
        metadata={
            "dagster/row_count": pictures.height,
            "gallery_rows": galleries.height,
            "issues": issues.height,
            "missing_pictures": missing["image"].n_unique(),
            "missing": {"markdown": missing_markdown(missing)},
            "megabytes": round(float(pictures["bytes"].sum()) / 1e6, 1),
        },
        checks=PICTURES_READABLE(pictures, issues) | SPLITS_DISJOINT(pictures, galleries),
        files=[
            write_table(pictures, folder, IMAGES),
            write_table(galleries, folder, GALLERIES),
            write_table(missing, folder, MISSING_PICTURES),
            write_table(issues, folder, DATA_ISSUES, of="images"),
        ],
    )


def triplets_step(data: DatasetPlan) -> Step:
    """Reference, relative captions and target, with every triplet's pictures present."""

    def plan(work: Work) -> Plan:
        versions = versions_of(work.storage, data.name("raw"), data.name("images"))
        return Plan(versions, lambda _: make_triplets(work, data, asked))

    asked = Asked(data.name("triplets"), data.protocols, data.batches, data.evaluates)
    # What was found true of them is found anew, by itself, when something else is asked of them.
    configuration = {"source": data.source.model_dump(mode="json"), "asked": asdict(asked)}
    return Step(data.name("triplets"), 1, plan, configuration)


def make_triplets(work: Work, data: DatasetPlan, asked: Asked) -> Made:
    """Write the table of triplets whose pictures are there, and what became of the others."""
    folder = work.storage.tables(data.dataset)
    annotations = data.source.annotations(work.storage.raw(data.dataset))
    images, galleries = read_table(folder, IMAGES), read_table(folder, GALLERIES)
    kept, dropped = split_by_pictures(annotations.triplets, images)
    # What lies in the folder is told with the pictures.
    issues = pl.concat([annotations.issues.filter(~pl.col("kind").is_in(ABOUT_FILES)), dropped])
    return Made(
        data_version=digest({"triplets": digest_frame(kept), "issues": digest_frame(issues)}),
        metadata={
            "dagster/row_count": kept.height,
            **{f"{split}_triplets": count for split, count in kept.group_by("split").len().iter_rows()},
            "left_out": dropped.height,
        },
        checks=TRIPLET_PICTURES_PRESENT(kept, dropped)
        | CAPTIONS_PRESENT(kept)
        | PROTOCOLS_APPLICABLE(images, galleries, kept, asked)
        | BATCHES_FILLED(kept, asked),
        files=[
            write_table(kept, folder, TRIPLETS),
            write_table(issues, folder, DATA_ISSUES, of="triplets"),
        ],
    )


def split_by_pictures(triplets: pl.DataFrame, images: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Triplets whose reference and target are there, and an issue for each that falls.

    Members of a set that are missing shrink the set; only a missing reference or target drops the triplet.
    """
    there = pl.col("reference").is_in(images["image"].implode()) & (
        pl.col("target").is_null() | pl.col("target").is_in(images["image"].implode())
    )
    dropped = triplets.filter(~there).select(
        kind=pl.lit("triplet_without_picture"),
        subject=pl.col("triplet_id"),
        detail=pl.format("reference {}, target {}", "reference", pl.col("target").fill_null("unknown")),
    )
    return triplets.filter(there), dropped


def missing_markdown(missing: pl.DataFrame) -> str:
    """What is missing, summed up by split and category, as a Markdown table."""
    from cir_assets.reporting.ladder import markdown_text

    lines = [
        "| split | category | gallery pictures missing | triplets lost |",
        "|---|---|---:|---:|",
    ]
    summed = missing.group_by("split", "category", maintain_order=True).agg(
        pl.col("in_gallery").sum(), pl.col("triplets_lost").sum()
    )
    lines += [
        f"| {markdown_text(split)} | {markdown_text(category)} | {gallery:,} | {lost:,} |"
        for split, category, gallery, lost in summed.rows()
    ]
    return "\n".join(lines) if missing.height else "none"

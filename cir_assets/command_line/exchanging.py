"""``features``, ``server-answer`` and ``table``: what goes out to papers and others, and comes in from servers."""

from __future__ import annotations

from pathlib import Path

import click

from cir_assets.command_line.materializing import materialize, require_storage
from cir_assets.command_line.names import checked_name, checked_pipeline, module_option


@click.group()
def features() -> None:
    """Take features out, to bring them in elsewhere as a source's features."""


@features.command("export")
@click.argument("dataset", callback=checked_name)
@click.option("--backbone", required=True, callback=checked_name, help="Whose features.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, named .parquet or .safetensors.",
)
def export_features(dataset: str, backbone: str, out: Path) -> None:
    """Write the features of a data set's pictures with ids, keys, preprocessing and the weights' digest."""
    require_storage()
    from cir_assets.pipeline import given_features
    from cir_assets.store.feature_files import BrokenFeatures
    from cir_assets.store.layout import Storage
    from cir_assets.store.made import NotMade

    try:
        count = given_features.export_features(Storage(), dataset, backbone, out)
    except (BrokenFeatures, NotMade, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"features of {count:,} pictures: {out}")


@click.command("server-answer")
@click.argument("pipeline", callback=checked_pipeline)
@click.argument("answer", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@module_option
def server_answer(pipeline: str, answer: Path, module: str) -> None:
    """Enter what a test server answered to a pipeline's submission, as an evaluation of its test split.

    PIPELINE is dataset/backbone/recipe, as in cirr/rn50x4/paper. ANSWER is a YAML file with the keys protocol,
    answered (the day), server (its address) and figures, in percent, as {recall@1: 39.0, subset_recall@1: 68.0};
    docs/fashioniq-and-cirr.md shows one.
    """
    require_storage()
    from cir_assets.pipeline.answers import WrongAnswer, enter_answer
    from cir_assets.store.layout import Storage
    from cir_assets.store.made import NotMade

    dataset, backbone, recipe = pipeline.split("/")
    try:
        said = enter_answer(Storage(), (dataset, backbone, recipe), answer)
    except (WrongAnswer, NotMade, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(said)
    materialize('key:"leaderboard"', module)


@click.command()
@click.argument("dataset", callback=checked_name)
@click.option("--split", type=click.Choice(["val", "test"]), default="val", show_default=True)
@click.option("--protocol", help="Of its protocols.  [default: the first that was evaluated]")
@click.option("--category", default="mean", show_default=True, help="A category, or the mean over them.")
@click.option(
    "--form",
    type=click.Choice(["markdown", "latex", "csv"]),
    default="markdown",
    show_default=True,
    help="What is written.",
)
@click.option(
    "--published/--ours", default=True, show_default=True, help="With what others published, or without."
)
def table(dataset: str, split: str, protocol: str | None, category: str, form: str, published: bool) -> None:
    """Write the figures of a data set, ours among the published ones, as a table for a paper or a page."""
    require_storage()
    from cir_assets.reporting.tables import FORMS, NoTable, comparison_table
    from cir_assets.store.layout import Storage
    from cir_assets.store.publishing import NotPublished, open_publication

    try:
        with open_publication(Storage().evaluation) as connection:
            found = comparison_table(connection, dataset, split, protocol, category, published=published)
    except (NotPublished, NoTable) as error:
        raise click.ClickException(str(error)) from error
    click.echo(FORMS[form](found))

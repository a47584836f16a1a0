"""``cir-assets new``: a project of one's own."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--pictures", metavar="FOLDER", help="Your pictures: a folder, or a ZIP or TAR of one.")
@click.option(
    "--triplets", metavar="FILE", help="Your table: reference, target and caption, of any usual kind."
)
@click.option(
    "--dataset", help="What the data set is called.  [default: as FOLDER, or wardrobe without pictures]"
)
def new(folder: Path, pictures: str | None, triplets: str | None, dataset: str | None) -> None:
    """Write a Dagster project of your own into FOLDER, such as my_shop.

    The table is read, and the YAML says a recipe and protocols that fit it. Without pictures the embedded data set is
    written, to try everything on.
    """
    from cir_assets.components.fitting import fit_catalogue, fit_wardrobe
    from cir_assets.components.loading import NAME_PATTERN
    from cir_assets.datasets.tables import BrokenAnnotations
    from cir_assets.starting.project import CannotBegin, write_project

    if triplets is not None and pictures is None:
        raise click.UsageError("--triplets are of pictures: name --pictures too")
    name = dataset or (folder.resolve().name if pictures else "wardrobe")
    if not NAME_PATTERN.match(name):
        raise click.BadParameter(
            f"{name!r} is no name: lower-case letters, digits and underscores, beginning with a letter"
        )
    try:
        # Commands of the project are run in it, so that a path relative to this folder would lead elsewhere.
        lies = [
            None if place is None else str(Path(place).expanduser().absolute())
            for place in (pictures, triplets)
        ]
        fitted = fit_catalogue(lies[0], lies[1]) if lies[0] else fit_wardrobe()
        files = write_project(folder.absolute(), name, fitted)
    except (BrokenAnnotations, CannotBegin, OSError) as error:
        raise click.ClickException(str(error)) from error
    for sentence in fitted.told:
        click.echo(sentence)
    click.echo(
        f"{len(files)} files written into {folder}; next:\n\n  cd {folder}\n  cir-assets demo\n  dagster dev"
    )

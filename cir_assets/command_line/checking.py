"""``check``: what would go wrong later with a YAML, told now."""

from __future__ import annotations

from pathlib import Path

import click

BACKBONES = Path(__file__).parents[1].joinpath("defs/backbones/defs.yaml")


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--backbones",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML that defines the backbones.  [default: that beside the data set's folder, else this project's]",
)
def check(file: Path, backbones: Path | None) -> None:
    """Say what would go wrong later with a data set's YAML; nothing is made.

    FILE is the YAML or its folder, as in cir_assets/defs/shop. Keys, backbones, the table and the names of pictures are
    checked, and whether there are enough triplets. Exits with 1 where something is wrong.
    """
    from cir_assets.components.checking import check_file

    chosen = file / "defs.yaml" if file.is_dir() else file
    if not chosen.is_file():
        raise click.ClickException(f"there is no {chosen}")
    beside = chosen.absolute().parent.with_name("backbones") / "defs.yaml"
    wrong = 0
    for remark in check_file(chosen, backbones or (beside if beside.is_file() else BACKBONES)):
        wrong += remark.wrong
        click.echo(f"{'wrong: ' if remark.wrong else 'note:  '}{remark.said}")
    if wrong:
        click.echo(f"{wrong} to mend", err=True)
        raise SystemExit(1)
    click.echo("nothing is wrong")

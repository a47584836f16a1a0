"""``status`` and ``rollback``: who is champion, what is stale, and going back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cir_assets.command_line.materializing import import_definitions, materialize, require_storage
from cir_assets.command_line.names import checked_pipeline, module_option
from cir_assets.command_line.output import Form, form_options, print_rows, say, terminal

if TYPE_CHECKING:
    from cir_assets.store.layout import Storage

COLUMNS = ("pipeline", "champion", "since", "headline", "last_decision")
"""What is told of a pipeline's champion."""


@click.command()
@click.argument("pipeline", callback=checked_pipeline)
@click.option("--because", default="a person asked for it", help="The reason written down.")
@module_option
def rollback(pipeline: str, because: str, module: str) -> None:
    """Make the champion before the present one champion again.

    PIPELINE is dataset/backbone/recipe, as in wardrobe/tiny_clip/small. The models taken back are not promoted
    again by themselves; newly trained ones are judged against the champion gone back to. What the search server
    reads is made again, so that it serves the champion gone back to within seconds.
    """
    from datetime import UTC, datetime

    from cir_assets.store.layout import Storage
    from cir_assets.store.promotions import ChampionChanged, NoChampion, PromotionLog, roll_back

    require_storage()
    dataset, backbone, recipe = pipeline.split("/")
    log = PromotionLog(Storage().promotions(dataset, backbone, recipe))
    try:
        decision = roll_back(log, because, datetime.now(UTC).replace(tzinfo=None))
    except (NoChampion, ChampionChanged) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"champion of {pipeline} is {decision.challenger} again, no longer {decision.champion}")
    materialize(f'key:"{pipeline}/champion" or key:"{pipeline}/search" or key:"leaderboard"', module)


@click.command()
@module_option
@form_options
def status(module: str, form: Form) -> None:
    """Show what is stale, what is wrong, and who is champion.

    Exits with 1 when something that was made is stale, was to be made and was not, a refresh waits for a person, or a
    data set's definition is wrong.
    """
    require_storage()
    say("reading the graph …")
    from cir_assets.graph.status import status_of
    from cir_assets.store.layout import Storage

    graph = status_of(import_definitions(module).defs())
    champions = champion_rows(Storage())
    states = [
        *(("wrong definition", dataset, wrong) for dataset, wrong in graph.wrong.items()),
        *(("held for a person", dataset, what) for dataset, what in graph.held.items()),
        *(("stale", asset, "") for asset in graph.stale),
        *(("stale", asset, f"left alone as {why}") for asset, why in graph.left_alone.items()),
        *(("not made", asset, why) for asset, why in graph.not_made.items()),
        *(("overdue", asset, since) for asset, since in graph.overdue.items()),
    ]
    if form is None:
        show_status(champions, states)
    else:
        columns = ("what", "name", "state", "since", "headline", "detail")
        asset_rows = [(state, asset, None, None, None, why) for state, asset, why in states]
        reigns = [
            (
                "champion",
                each["pipeline"],
                each["champion"],
                each["since"],
                each["headline"],
                each["last_decision"],
            )
            for each in champions
        ]
        print_rows([dict(zip(columns, row, strict=True)) for row in [*reigns, *asset_rows]], form, columns)
    if any(state != "overdue" for state, _, _ in states):
        raise SystemExit(1)


def champion_rows(storage: Storage) -> list[dict[str, Any]]:
    """Every pipeline that was evaluated: its champion, since when, its headline on val, and what was decided last."""
    from cir_assets.pipeline.identity import BROUGHT
    from cir_assets.pipeline.judging import verdict
    from cir_assets.store.ledger import Ledger
    from cir_assets.store.promotions import PromotionLog

    ledger, rows = Ledger(storage.ledger), list[dict[str, Any]]()
    places = {
        "/".join(file.relative_to(folder).with_suffix("").parts)
        for folder, ending in ((storage.champions, "parquet"), (storage.every_result, "duckdb"))
        for file in folder.rglob(f"*.{ending}")
        # A ranking of another system has results, and nothing to serve.
        if file.parent.name != BROUGHT
    }
    for pipeline in sorted(places):
        log = PromotionLog(storage.promotions(*pipeline.split("/")))
        if log.rows().is_empty():
            said = f"trained and evaluated, not judged yet: make search, or cir-assets run {pipeline.split('/')[0]}"
            rows.append(dict.fromkeys(COLUMNS) | {"pipeline": pipeline, "last_decision": said})
            continue
        reign, judged = log.reigns().row(-1, named=True), ledger.latest(f"{pipeline}/challenger")
        newest = judged.detail["metadata"].get("challenger") if judged is not None else None
        rows.append(
            {
                "pipeline": pipeline,
                "champion": reign["challenger"],
                "since": reign["decided_at"],
                "headline": reign["challenger_headline"],
                "last_decision": verdict(log, newest).description,
            }
        )
    return rows


def show_status(champions: list[dict[str, Any]], states: list[tuple[str, str, str]]) -> None:
    """Print who is champion, and what is not as it should be."""
    from rich import box
    from rich.table import Table

    console = terminal()
    table = Table(title="champions", box=box.SIMPLE_HEAD)
    for name in ("pipeline", "champion", "since (UTC)", "headline on val", "last decision"):
        table.add_column(name, overflow="fold")
    for each in champions:
        table.add_row(
            each["pipeline"],
            each["champion"] or "none",
            f"{each['since']:%Y-%m-%d %H:%M}" if each["since"] else "",
            "" if each["headline"] is None else f"{each['headline']:.1f}",
            each["last_decision"],
        )
    console.print(table if table.row_count else "no champion yet: nothing was trained and evaluated")
    for state, name, why in states:
        joint = ": " if state in ("wrong definition", "not made") else ", "
        console.print(f"{state}: {name}{joint + why if why else ''}", soft_wrap=True)
    if all(state == "overdue" for state, _, _ in states):
        console.print("nothing that was made is stale, and nothing that was asked for is missing")

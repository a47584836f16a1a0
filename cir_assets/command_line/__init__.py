"""``cir-assets``: the whole graph from a terminal, and what came out of it; a module a handful of commands."""

from cir_assets.command_line.checking import check
from cir_assets.command_line.evaluations import compare, ladder, leaderboard, sql
from cir_assets.command_line.exchanging import features, server_answer, table
from cir_assets.command_line.group import completion, main
from cir_assets.command_line.making import demo, run
from cir_assets.command_line.reigning import rollback, status
from cir_assets.command_line.searching import search
from cir_assets.command_line.serving import serve, ui
from cir_assets.sharing.command import export, push
from cir_assets.starting.command import new

for command in (
    *(new, check, demo, run, status, rollback),
    *(ladder, leaderboard, compare, table, sql, server_answer),
    *(ui, serve, search),
    *(features, export, push, completion),
):
    main.add_command(command)

__all__ = ["main"]

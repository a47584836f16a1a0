"""``cir-assets``: the whole graph from a terminal, and what came out of it; a module a handful of commands."""

from cir_assets.command_line.checking import check
from cir_assets.command_line.evaluations import compare, ladder, leaderboard, sql
from cir_assets.command_line.group import completion, main
from cir_assets.command_line.making import demo, run
from cir_assets.command_line.reigning import rollback, status
from cir_assets.command_line.searching import search
from cir_assets.command_line.serving import serve, ui

for command in (demo, run, check, ladder, leaderboard, compare, sql, search, serve, ui, status, rollback):
    main.add_command(command)
main.add_command(completion)

__all__ = ["main"]

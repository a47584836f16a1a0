"""``python -m benchmarks [--quick] [--only NAME ...] [--device cuda] [--out FILE]``: all of them, one after another."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.measuring import Measured, Scale, as_json, growth, machine, proportional, table

BENCHMARKS = (
    "ranking",
    "gallery",
    "cached_features",
    "stage_1",
    "stage_2",
    "recipe",
    "encoding",
    "graph",
    "search_server",
)


def main() -> None:
    """Measure, print a table a benchmark, and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, without the largest sizes")
    parser.add_argument("--only", nargs="*", choices=BENCHMARKS, default=BENCHMARKS, metavar="NAME")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda")
    )
    parser.add_argument(
        "--out", type=Path, default=Path("storage/benchmarks.json"), help="where the JSON goes"
    )
    asked = parser.parse_args()
    console = Console(width=200)
    for name, value in machine(asked.device).items():
        console.print(f"{name}: {value}")
    found: dict[str, list[Measured]] = {}
    for name in asked.only:
        module = importlib.import_module(f"benchmarks.{name}")
        found[name] = list(module.run(Scale(asked.quick, asked.device)))
        console.print(table(f"{name}: {module.TITLE}", found[name]))
        for what, exponent in growth(found[name]).items():
            console.print(f"growth of {what}: exponent {exponent:.2f}, {proportional(exponent)}")
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(as_json(found, asked.device) + "\n", encoding="utf-8")
    console.print(f"JSON: {asked.out}")


if __name__ == "__main__":
    main()

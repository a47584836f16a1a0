"""``python -m benchmarks.page FILE``: the tables of docs/performance.md, from the JSON a run wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.measuring import proportional, seconds


def page(found: dict[str, Any]) -> str:
    """Markdown: the machine, a row a thing and size, and the exponents of growth."""
    lines = [f"{name}: {value}" for name, value in found["machine"].items()]
    lines = ["; ".join(lines) + ".", ""]
    lines += ["| what | size | time | ÷ floor | beside it | further |", "|---|---|---:|---:|---|---|"]
    for benchmark in found["benchmarks"].values():
        lines += [_row(each) for each in benchmark["measured"]]
    lines += ["", "| goal | reached |", "|---|---|"]
    for benchmark in found["benchmarks"].values():
        lines += [
            f"| {each['what']}, {each['size']}: {each['goal']} | {'yes' if each['reached'] else 'no'} |"
            for each in benchmark["measured"]
            if each["reached"] is not None
        ]
    lines += ["", "| growth of | exponent | |", "|---|---:|---|"]
    for benchmark in found["benchmarks"].values():
        lines += [
            f"| {what} | {exponent:.2f} | {proportional(exponent)} |"
            for what, exponent in benchmark["growth"].items()
        ]
    return "\n".join(lines)


def _row(each: dict[str, Any]) -> str:
    time, rival = each["time"], each["rival_time"]
    took = (
        f"{seconds(time['median'])} ({seconds(time['least'])} – {seconds(time['most'])}, {time['repeats']})"
    )
    beside = f"{each['rival']}: {seconds(rival['median'])}" if rival else ""
    further = "; ".join(f"{name} {value:,.3g}" for name, value in each["figures"].items())
    floor = f"{time['median'] / each['floor']:.2f} × {each['floor_is']}"
    return f"| {each['what']} | {each['size']} | {took} | {floor} | {beside} | {further} |"


if __name__ == "__main__":
    print(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))

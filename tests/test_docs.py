"""What README and the pages of docs/ name is there: modules, files, and where their links lead."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]

NOT_OURS = {"cir_assets/defs/shop/", "cir_assets/defs/shop"}
"""The folder a reader is told to make."""

ROOMS = r"(?:cir_assets|tests|benchmarks|examples|docs)"
FILES = re.compile(rf"(?<![\w./-]){ROOMS}(?:/[\w.-]+)+/?")
MODULES = re.compile(r"(?<![\w./-])(?:cir_assets|tests|benchmarks)(?:\.[A-Za-z_]\w*)+")
LINKS = re.compile(r"\]\(([^)\s]+)\)")
HEADINGS = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"```.*?```", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What a link may name after ``#``: headings in lower case, without punctuation, spaces as hyphens."""
    headings = HEADINGS.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_there(module: str) -> bool:
    try:
        resolve_name(module)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_module_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = {name.rstrip(".") for name in FILES.findall(text)} - NOT_OURS
    assert {name for name in files if not (PROJECT / name).exists()} == set()
    assert {name for name in set(MODULES.findall(text)) if not is_there(name)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    inside = {link for link in LINKS.findall(page.read_text(encoding="utf-8")) if "://" not in link}
    lost = set()
    for link in inside:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.add(link)
    assert lost == set()


def test_names_and_links_are_found_at_all() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {"cir_assets/retrieval/methods.py", "tests/test_laws.py"} <= set(FILES.findall(text))
    assert {"cir_assets.pipeline.step", "cir_assets.components.dataset.Dataset"} <= set(MODULES.findall(text))
    assert "docs/storage.md" in LINKS.findall(text)

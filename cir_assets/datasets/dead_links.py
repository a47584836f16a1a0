"""What is remembered of addresses that gave no picture, and under what it was judged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class DeadLinks:
    """Addresses that will not give a picture, in a file of one JSON object a line.

    A line holds ``image``, ``address``, ``reason``, ``when`` and ``judged_by``: the settings under which its bytes
    were no picture, or null where no setting matters (404, no address). A line of other settings is not believed,
    nor one of an earlier version, without ``judged_by``, that is not 404 or 410: it may tell of a sign-in page.

    Args:
        file: is made with the first line.
        settings: what pictures are judged by now, as JSON.
    """

    def __init__(self, file: Path, settings: Mapping[str, Any]) -> None:
        self.file = file
        self.settings = dict(settings)
        text = file.read_bytes() if file.is_file() else b""
        if text and not text.endswith(b"\n"):
            # A killed run left this line unfinished; the next one would be lost with it.
            with file.open("ab") as stream:
                stream.write(b"\n")

    def known(self) -> dict[tuple[str, str], str]:
        """(id, address) -> reason; lines that cannot be read are passed over."""
        found: dict[tuple[str, str], str] = {}
        for line in self.file.read_bytes().splitlines() if self.file.is_file() else ():
            try:
                row = json.loads(line)
                place, reason = (row["image"], row["address"]), row["reason"]
                judged_by = row.get(
                    "judged_by", self.settings if _says_gone(reason) else "an earlier version"
                )
            except (ValueError, LookupError, TypeError, AttributeError):
                continue
            if judged_by is None or judged_by == self.settings:
                found[place] = reason
            else:
                found.pop(place, None)
        return found

    def remember(self, image: str, address: str, reason: str, *, whatever_the_settings: bool) -> None:
        """Add a line."""
        row = {
            "image": image,
            "address": address,
            "reason": reason,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "judged_by": None if whatever_the_settings else self.settings,
        }
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def _says_gone(reason: str) -> bool:
    return re.search(r" answered 4(04|10)$", reason) is not None

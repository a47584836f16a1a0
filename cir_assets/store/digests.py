"""Digests: one name for a JSON value, an array, a file or a frame, the same on every machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

DIGEST_LENGTH = 16
"""Hexadecimal digits kept of a SHA-256: 64 bits, ample for the versions of one project."""


def digest(value: Any) -> str:
    """Digest of a JSON value; mappings count without their order.

    Raises:
        TypeError: for a value that is not JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def digest_array(array: np.ndarray) -> str:
    """Digest of an array's dtype, shape and bytes (C order)."""
    content = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()[:DIGEST_LENGTH]


def digest_file(file: Path) -> str:
    """Digest of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:DIGEST_LENGTH]


def digest_frame(frame: pl.DataFrame) -> str:
    """Digest of a frame's column names, types and rows in order, the same whatever its chunks are."""
    content = hashlib.sha256(repr(list(frame.schema.items())).encode())
    content.update(frame.write_ndjson().encode())
    return content.hexdigest()[:DIGEST_LENGTH]

"""Text features by content: a caption is encoded once for each text encoder, however often stage 2 is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cir_assets.store.files import write_whole

ENCODER = b"text_encoder"

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


class TextFeatures:
    """The raw text features one step last used, kept in a Parquet file for the next time.

    The file holds one row a caption, of one text encoder only: features of another are of no use any more.

    Attributes:
        encoded: captions encoded since this was opened.
        reused: captions taken from the file since then.
    """

    def __init__(self, path: Path, encoder: str, encode: Encode) -> None:
        """Open the file, if it is of this encoder.

        Args:
            path: where it lies.
            encoder: digest of the text encoder's weights.
            encode: raw features, float32 (n, D), of n captions.
        """
        self.path, self.encoder, self._encode = path, encoder, encode
        self.encoded = self.reused = 0
        self._known = _read(path, encoder)
        self._used: dict[str, NDArray[np.float32]] = {}

    def __call__(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Raw features, float32 (n, D), in the captions' order; only what is not known is encoded."""
        asked = dict.fromkeys(captions)
        fresh = [caption for caption in asked if caption not in self._known and caption not in self._used]
        self.reused += sum(caption in self._known and caption not in self._used for caption in asked)
        self._used |= {caption: self._known[caption] for caption in asked if caption in self._known}
        if fresh:
            self._used |= dict(zip(fresh, self._encode(fresh), strict=True))
            self.encoded += len(fresh)
        return np.stack([self._used[caption] for caption in captions])

    def keep(self) -> None:
        """Write what was asked for since it was opened, and nothing else; beside, then renamed."""
        matrix = np.stack(list(self._used.values()))
        table = pa.table(
            {
                "caption": pa.array(list(self._used), pa.string()),
                "feature": pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1]),
            }
        ).replace_schema_metadata({ENCODER: self.encoder.encode()})
        with write_whole(self.path) as beside:
            pq.write_table(table, beside)


def _read(path: Path, encoder: str) -> dict[str, NDArray[np.float32]]:
    try:
        table = pq.read_table(path)
    except (FileNotFoundError, pa.ArrowInvalid):  # none yet, or one that a failing disk left broken
        return {}
    if (table.schema.metadata or {}).get(ENCODER) != encoder.encode():
        return {}
    features = table["feature"].combine_chunks()
    matrix = features.flatten().to_numpy().reshape(len(features), -1)
    return dict(zip(table["caption"].to_pylist(), matrix, strict=True))

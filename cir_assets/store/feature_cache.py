"""Image features by content: encoded once, kept in DuckDB, read back as one matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cir_assets.store.contracts import IMAGE_FEATURES, NOT_ENCODED
from cir_assets.store.database import open_database
from cir_assets.store.declaring import create_tables

FLUSH_ROWS = 2_048
"""Rows kept in memory before they are committed: a killed run loses at most these."""

READ_ROWS = 2_048
"""Rows read at a time: DuckDB's own vector, 5 MB of features at most dimensions; larger ones only leave the cache."""

READING_MEGABYTES = 24
"""What DuckDB may hold at most while features of 640 dimensions are read, besides their keys."""

WRITING_MEGABYTES = 48
"""What DuckDB may hold at most while features of 640 dimensions are written; it would keep all that it wrote."""


@dataclass(frozen=True)
class NotEncoded:
    """Why a picture has no feature: what its bytes say, or, where ``passing``, only what was so at that moment."""

    reason: str
    passing: bool


_KEYS_NOT_ENCODED = "SELECT image_key FROM not_encoded WHERE preprocessing = $1 AND backbone = $2"


class FeatureCache:
    """The features of one data set under one backbone, in one DuckDB file with one writer.

    Rows are keyed by picture content, preprocessing and backbone weights, so a changed picture, padding or
    backbone adds rows and never mistakes old ones for new. The column's dimension is fixed; a backbone of
    another dimension under the same name starts the file anew, and what it held is kept beside as
    ``<name>.<dimension>.duckdb``.
    """

    def __init__(self, path: Path, *, wait_seconds: float = 30.0) -> None:
        self.path = path
        self._wait = wait_seconds

    def missing(
        self, image_keys: Sequence[str], preprocessing: str, backbone: str, judged_by: str = ""
    ) -> list[str]:
        """Those of the keys that are neither encoded nor known as unreadable, in the order given, once each.

        Known as unreadable is what was judged by the very settings ``judged_by``, and not what could not be read at
        some moment.
        """
        distinct = list(dict.fromkeys(image_keys))
        if not self.path.is_file():
            return distinct
        with open_database(self.path, read_only=True, wait_seconds=self._wait) as connection:
            if _dimension(connection) is None:
                return distinct
            known = (
                f"AND image_key NOT IN ({_KEYS_NOT_ENCODED} AND judged_by = $3)" if _tells(connection) else ""
            )
            connection.register("wanted", pa.table({"image_key": distinct, "place": range(len(distinct))}))
            rows = connection.execute(
                f"""SELECT image_key FROM wanted
                WHERE image_key NOT IN (SELECT image_key FROM image_features WHERE preprocessing = $1 AND backbone = $2)
                {known} ORDER BY place""",
                [preprocessing, backbone, judged_by][: 3 if known else 2],
            ).fetchall()
        return [key for (key,) in rows]

    def not_encoded(
        self, image_keys: Sequence[str], preprocessing: str, backbone: str
    ) -> dict[str, NotEncoded]:
        """Those of the keys that were tried and have no feature, with the reason."""
        if not self.path.is_file():
            return {}
        with open_database(self.path, read_only=True, wait_seconds=self._wait) as connection:
            if not _tells(connection):
                return {}
            connection.register("wanted", pa.table({"image_key": list(dict.fromkeys(image_keys))}))
            rows = connection.execute(
                """SELECT image_key, any_value(reason), bool_or(judged_by IS NULL) FROM not_encoded
                SEMI JOIN wanted USING (image_key)
                WHERE preprocessing = $1 AND backbone = $2 GROUP BY image_key ORDER BY image_key""",
                [preprocessing, backbone],
            ).fetchall()
        return {key: NotEncoded(reason, passing) for key, reason, passing in rows}

    def dimension(self) -> int | None:
        """The dimension the file holds; None where there is no file."""
        if not self.path.is_file():
            return None
        with open_database(self.path, read_only=True, wait_seconds=self._wait) as connection:
            return _dimension(connection)

    @contextmanager
    def writing(
        self, preprocessing: str, backbone: str, dimension: int, judged_by: str = ""
    ) -> Iterator[FeatureRows]:
        """Rows to be added, committed every ``FLUSH_ROWS`` and at the end; what is committed outlives a kill.

        Reasons that do not hold under ``judged_by`` are forgotten: those pictures are tried now.
        """
        held = self.dimension()
        if held is not None and held != dimension:
            self.path.replace(self.path.with_suffix(f".{held}.duckdb"))
        with open_database(self.path, wait_seconds=self._wait) as connection:
            # Floats of a network do not compress; trying costs time at both ends.
            connection.execute("SET force_compression = 'uncompressed'")
            # A few megabytes a second need no more, and every thread would hold blocks of its own.
            connection.execute("SET threads = 1")
            # One transaction: a file has both tables or none.
            connection.begin()
            create_tables(connection, (IMAGE_FEATURES.of_dimension(dimension), NOT_ENCODED))
            # Of an older version, which took what passes for what stays.
            connection.execute("DROP TABLE IF EXISTS unreadable")
            connection.commit()
            connection.execute(
                """DELETE FROM not_encoded
                WHERE preprocessing = $1 AND backbone = $2 AND judged_by IS DISTINCT FROM $3""",
                [preprocessing, backbone, judged_by],
            )
            rows = FeatureRows(connection, preprocessing, backbone, dimension, judged_by)
            try:
                yield rows
            finally:
                rows.flush()

    def matrix(self, image_keys: Sequence[str], preprocessing: str, backbone: str) -> NDArray[np.float32]:
        """Features in the order of the keys, float32 (n, D), writable and contiguous; keys may repeat.

        Raises:
            KeyError: when one is not in the cache, with the count and the first.
        """
        with open_database(self.path, read_only=True, wait_seconds=self._wait) as connection:
            dimension = _dimension(connection)
            if dimension is None:
                raise KeyError(f"{self.path} holds no features yet; materialize image_features")
            # The system's own memory: Arrow's default pool keeps several times what the keys take.
            wanted = pa.array(image_keys, pa.string(), memory_pool=pa.system_memory_pool())
            connection.register("wanted", pa.table({"image_key": wanted, "place": np.arange(len(wanted))}))
            features = np.empty((len(image_keys), dimension), dtype=np.float32)
            filled = np.zeros(len(image_keys), dtype=bool)
            # Left to choose, DuckDB builds its hash table of the features instead of streaming them past the keys.
            connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
            # Blocks read are let go again: what is held is the matrix, not the file beside it.
            limit = READING_MEGABYTES * max(640, dimension) // 640 + len(image_keys) * 120 // 1_000_000
            _in_bounded_memory(
                connection, limit, lambda: _place(connection, preprocessing, backbone, features, filled)
            )
        if not filled.all():
            first = image_keys[int(np.flatnonzero(~filled)[0])]
            raise KeyError(
                f"{int((~filled).sum())} of {len(filled)} pictures have no feature in {self.path} for "
                f"{preprocessing} and backbone {backbone} (first: {first}); materialize image_features"
            )
        return features


class FeatureRows:
    """Rows on their way into the cache."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        preprocessing: str,
        backbone: str,
        dimension: int,
        judged_by: str,
    ) -> None:
        self._connection = connection
        self._preprocessing = preprocessing
        self._backbone = backbone
        self._dimension = dimension
        self._judged_by = judged_by
        self._keys: list[str] = []
        self._features: list[NDArray[np.float32]] = []
        self._not_encoded: list[tuple[str, str, str | None]] = []

    def add(self, image_keys: Sequence[str], features: NDArray[np.float32]) -> None:
        """Add features, float32 (n, D), of as many keys.

        Raises:
            ValueError: when the shapes do not fit the keys or the cache's dimension.
        """
        if features.shape != (len(image_keys), self._dimension):
            raise ValueError(
                f"features of shape {features.shape} for {len(image_keys)} pictures and dimension {self._dimension}"
            )
        self._keys += image_keys
        self._features.append(features)
        if len(self._keys) >= FLUSH_ROWS:
            self.flush()

    def unreadable(self, image_key: str, reason: str) -> None:
        """Remember a picture that does not decode."""
        self._not_encoded.append((image_key, reason, self._judged_by))

    def not_read_now(self, image_key: str, reason: str) -> None:
        """Tell of a picture that could not be read at this moment; it stays missing."""
        self._not_encoded.append((image_key, reason, None))

    def flush(self) -> None:
        """Commit what was added so far."""
        if self._keys:
            stacked = np.ascontiguousarray(np.concatenate(self._features), dtype=np.float32)
            self._connection.register(
                "fresh",
                pa.table(
                    {
                        "image_key": self._keys,
                        "feature": pa.FixedSizeListArray.from_arrays(
                            pa.array(stacked.ravel()), self._dimension
                        ),
                    }
                ),
            )
            limit = WRITING_MEGABYTES * max(640, self._dimension) // 640
            _in_bounded_memory(self._connection, limit, self._insert)
            self._connection.unregister("fresh")
        if self._not_encoded:
            self._connection.executemany(
                "INSERT INTO not_encoded VALUES ($1, $2, $3, $4, $5)",
                [
                    (key, self._preprocessing, self._backbone, reason, judged_by)
                    for key, reason, judged_by in self._not_encoded
                ],
            )
        self._keys, self._features, self._not_encoded = [], [], []

    def _insert(self) -> None:
        self._connection.execute(
            """INSERT INTO image_features SELECT image_key, $1, $2, feature FROM fresh
            ANTI JOIN (SELECT image_key FROM image_features WHERE preprocessing = $1 AND backbone = $2)
            USING (image_key)""",
            [self._preprocessing, self._backbone],
        )


def _in_bounded_memory(
    connection: duckdb.DuckDBPyConnection, megabytes: int, action: Callable[[], None]
) -> None:
    """Do something with little memory for DuckDB, so that it lets go what it has read or written, or else with all."""
    [[whole]] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    try:
        connection.execute(f"SET memory_limit = '{megabytes} MB'")
        action()
    except (duckdb.OutOfMemoryException, OSError) as error:
        # Arrow's reader tells DuckDB's lack of memory as an OSError.
        if isinstance(error, OSError) and "Out of Memory" not in str(error):
            raise
        connection.execute(f"SET memory_limit = '{whole}'")
        action()
    else:
        connection.execute(f"SET memory_limit = '{whole}'")


def _place(
    connection: duckdb.DuckDBPyConnection,
    preprocessing: str,
    backbone: str,
    features: NDArray[np.float32],
    filled: NDArray[np.bool_],
) -> None:
    """Stream the wanted features to their places: by number, so that neither a sort nor a second copy is made."""
    reader = connection.sql(
        """SELECT place, feature FROM image_features JOIN wanted USING (image_key)
        WHERE preprocessing = $1 AND backbone = $2""",
        params=[preprocessing, backbone],
    ).to_arrow_reader(READ_ROWS)
    for batch in reader:
        places = batch.column("place").to_numpy()
        features[places] = batch.column("feature").flatten().to_numpy().reshape(-1, features.shape[1])
        filled[places] = True


def _tells(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the file has the table of reasons; that of an older version told less and is not read."""
    return bool(
        connection.execute(
            "SELECT 1 FROM duckdb_tables() WHERE database_name = 'stored' AND table_name = 'not_encoded'"
        ).fetchall()
    )


def _dimension(connection: duckdb.DuckDBPyConnection) -> int | None:
    """The dimension of the stored features; None where a killed run left a file without its tables."""
    found = connection.execute(
        "SELECT data_type FROM information_schema.columns "
        "WHERE table_catalog = 'stored' AND table_name = 'image_features' AND column_name = 'feature'"
    ).fetchall()
    return int(found[0][0].removeprefix("FLOAT[").removesuffix("]")) if found else None

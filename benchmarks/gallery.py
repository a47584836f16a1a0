"""The 50 best of a gallery for 1,000 queries, exactly, beside FAISS and DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import duckdb
import faiss
import numpy as np
import pyarrow as pa
import torch

from benchmarks.measuring import Ceiling, Measured, Scale, apart, flat_memory, in_turn, memory_peak_above_now
from cir_assets.retrieval.ranking import search

TITLE = "exact top 50 of 1,000 queries"

DIMENSION, QUERIES, TOP = 640, 1000, 50
ASKED_OF_DUCKDB = 5


def _features(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A gallery (size, D) and queries (1000, D), unit length."""
    torch.manual_seed(size)
    features = torch.nn.functional.normalize(torch.randn(size, DIMENSION), dim=1)
    return features, torch.nn.functional.normalize(torch.randn(QUERIES, DIMENSION), dim=1)


def memory_of_search(size: int) -> float:
    """Megabytes above the features that a search needs at most."""
    features, queries = _features(size)
    return memory_peak_above_now(lambda: search(queries, features, None, k=TOP))


def run(scale: Scale) -> Iterator[Measured]:
    """Galleries of 10,000, 100,000 and 1,000,000."""
    sizes = scale.sizes(10_000, 100_000, 1_000_000)
    memory: dict[int, float] = {}
    for size in sizes:
        memory[size] = apart(memory_of_search, size)
        features, queries = _features(size)
        flat = faiss.IndexFlatIP(DIMENSION)
        flat.add(features.numpy())
        ceiling = Ceiling(2.0 * size * QUERIES * DIMENSION)
        actions: dict[str, Callable[[], object]] = {
            "ours": partial(search, queries, features, None, k=TOP),
            "ceiling": ceiling,
            "faiss": partial(flat.search, queries.numpy(), TOP),
        }
        took = in_turn(actions, scale.repeats(5))
        _, theirs = flat.search(queries.numpy(), TOP)
        ours = search(queries, features, None, k=TOP).positions
        floor = ceiling.seconds(took["ceiling"])
        share = floor / took["ours"].median
        whole = size == 1_000_000
        yield Measured(
            "top 50 of 1,000 queries, D 640",
            f"{size:,} pictures",
            size,
            took["ours"],
            floor,
            "the product at the ceiling",
            "FAISS flat",
            took["faiss"],
            "0.7 of the ceiling, memory bounded by blocks" if whole else "",
            share >= 0.7 and flat_memory(memory[size], memory[sizes[0]]) if whole else None,
            {
                "share of the product ceiling": share,
                "memory above the features, MB": memory[size],
                "same 50 as FAISS, share of queries": float(
                    np.mean([set(a) == set(b) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)])
                ),
                "DuckDB, s a query": _seconds_of_duckdb(features, queries),
            },
        )


def _seconds_of_duckdb(features: torch.Tensor, queries: torch.Tensor) -> float:
    """Median of a few queries through ``array_inner_product``, the features in a table in memory."""
    with duckdb.connect() as connection:
        values = pa.FixedSizeListArray.from_arrays(pa.array(features.numpy().ravel()), DIMENSION)
        connection.register("given", pa.table({"position": np.arange(len(features)), "feature": values}))
        connection.execute("CREATE TABLE gallery AS SELECT * FROM given")
        asked = [query.tolist() for query in queries[:ASKED_OF_DUCKDB]]

        def ask(query: list[float]) -> None:
            connection.execute(
                f"SELECT position FROM gallery "
                f"ORDER BY array_inner_product(feature, $1::FLOAT[{DIMENSION}]) DESC LIMIT {TOP}",
                [query],
            ).fetchall()

        took = in_turn({str(number): partial(ask, query) for number, query in enumerate(asked)}, 1)
    return float(np.median([each.median for each in took.values()]))

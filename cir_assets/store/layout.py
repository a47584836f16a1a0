"""The layout of a storage folder: one class that knows every path below it; docs/storage.md tells it."""

from __future__ import annotations

import os
from pathlib import Path


class Storage:
    """A storage folder. Every method returns an absolute path."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """The storage folder ``folder``; by default ``DAGSTER_HOME``, which the committed ``.env`` sets.

        Args:
            folder: absolute or relative to the working folder. Where it is None and ``DAGSTER_HOME`` is not set it is
                ``storage`` in the working folder.
        """
        self.root = Path(folder or os.environ.get("DAGSTER_HOME") or "storage").expanduser().resolve()

    @property
    def ledger(self) -> Path:
        """What was made from what: one JSON file a step."""
        return self.root / "ledger"

    @property
    def evaluation(self) -> Path:
        """The published database people query."""
        return self.root / "evaluation.duckdb"

    def backbone(self, backbone: str) -> Path:
        """A backbone's weights, tokenizer and configuration."""
        return self.root / "backbones" / backbone

    def raw(self, dataset: str) -> Path:
        """A data set's files as fetched or rendered."""
        return self.root / "raw" / dataset

    def tables(self, dataset: str) -> Path:
        """A data set's tables: images, galleries, triplets and data issues, as Parquet files."""
        return self.root / "tables" / dataset

    def features(self, dataset: str, backbone: str) -> Path:
        """The feature cache of one data set under one backbone."""
        return self.root / "features" / dataset / f"{backbone}.duckdb"

    def tuned_features(self, dataset: str, backbone: str, recipe: str) -> Path:
        """The feature cache of one pipeline whose stage 1 changed the image encoder."""
        return self.root / "features" / dataset / backbone / f"{recipe}.duckdb"

    def text_features(self, dataset: str, backbone: str, recipe: str, step: str) -> Path:
        """The text features a step last used."""
        return self.root / "features" / dataset / backbone / recipe / f"{step}.parquet"

    def models(self, dataset: str, backbone: str, recipe: str, step: str) -> Path:
        """All versions of one trained model."""
        return self.root / "models" / dataset / backbone / recipe / step

    @property
    def heartbeats(self) -> Path:
        """One file a run under way, touched as long as its process lives."""
        return self.root / "heartbeats"

    @property
    def champions(self) -> Path:
        """Every pipeline's decisions."""
        return self.root / "champions"

    def promotions(self, dataset: str, backbone: str, recipe: str) -> Path:
        """One pipeline's decisions about who is champion."""
        return self.champions / dataset / backbone / f"{recipe}.parquet"

    @property
    def searches(self) -> Path:
        """What the search server reads, a folder a pipeline."""
        return self.root / "search"

    def search(self, dataset: str, backbone: str, recipe: str) -> Path:
        """What the search server reads of one pipeline."""
        return self.searches / dataset / backbone / recipe

    @property
    def reports(self) -> Path:
        """The leaderboard's page, and below it every pipeline's."""
        return self.root / "reports"

    def report(self, dataset: str, backbone: str, recipe: str) -> Path:
        """One pipeline's report and contact sheet."""
        return self.reports / dataset / backbone / recipe

    @property
    def every_result(self) -> Path:
        """What evaluation and training wrote, a folder a data set."""
        return self.root / "results"

    def results(self, dataset: str, backbone: str, recipe: str) -> Path:
        """What one pipeline's evaluation and training wrote."""
        return self.every_result / dataset / backbone / f"{recipe}.duckdb"

    def answers(self, dataset: str, backbone: str, recipe: str) -> Path:
        """What a test server answered to one pipeline's submissions, entered by people; a results file too."""
        return self.root / "answers" / dataset / backbone / f"{recipe}.duckdb"

    @property
    def published_figures(self) -> Path:
        """People's own files of figures others published."""
        return self.root / "published"

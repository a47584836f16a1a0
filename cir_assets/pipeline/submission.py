"""``…/<recipe>/submission``: the files a data set's test server takes, where test keeps its targets secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cir_assets.pipeline.checks import SUBMISSION_COMPLETE
from cir_assets.pipeline.evaluation import models_from
from cir_assets.pipeline.identity import Pipeline
from cir_assets.pipeline.inputs import load_backbone, load_inputs
from cir_assets.pipeline.queries import method_queries
from cir_assets.pipeline.step import Plan, Step, Work
from cir_assets.retrieval.protocols import CIRR
from cir_assets.store.digests import digest, digest_file
from cir_assets.store.files import write_whole
from cir_assets.store.made import Made, versions_of


def submission_step(pipeline: Pipeline) -> Step:
    """The submission files of one pipeline's best method."""
    server = pipeline.data.source.test_server
    assert server is not None, f"{pipeline.data.source.kind} has no test server"
    protocol = server.protocol
    method = pipeline.served_method

    def plan(work: Work) -> Plan:
        versions = versions_of(work.storage, pipeline.data.name("images"), *pipeline.ranked_from())
        return Plan(versions, lambda _: make_submission(work, pipeline, protocol, method))

    configuration = {
        "protocol": protocol,
        "method": method,
        "models": [pipeline.model_name(model) for model in pipeline.models],
    }
    return Step(pipeline.name("submission"), 1, plan, configuration)


def make_submission(work: Work, pipeline: Pipeline, protocol: str, method: str) -> Made:
    """Rank the test queries by one method and write the server's files.

    Raises:
        ValueError: when a test query cannot be ranked, as the server refuses incomplete files.
    """
    from torch.nn import functional

    from cir_assets.retrieval.submissions import circo_submission, cirr_submission, document_bytes

    backbone = load_backbone(work, pipeline.encoded)
    inputs = load_inputs(work, pipeline.encoded, backbone)
    asked = {("test", protocol): inputs.query_groups(protocol, "test", with_targets=False)}
    [queries] = method_queries(work, pipeline, backbone, inputs, asked, [method])
    queries_and_gallery = (
        queries.groups,
        queries.queries,
        functional.normalize(queries.inputs.features, dim=1),
        queries.inputs.feature_images["image"].to_list(),
    )
    documents: dict[str, Mapping[str, Any]]
    if protocol == CIRR.name:
        made = cirr_submission(*queries_and_gallery)
        documents = {"recall": made.recall, "recall_subset": made.recall_subset}
    else:
        documents = {"test": circo_submission(*queries_and_gallery)}
    folder = work.storage.report(*pipeline.place) / "submission"
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        _written(folder / f"{protocol}_{name}.json", document_bytes(document))
        for name, document in documents.items()
    ]
    # The server counts the queries of the annotations, also those whose pictures are missing here.
    annotations = pipeline.data.source.read(work.storage.raw(pipeline.data.dataset))
    expected = annotations.triplets.filter(split="test").height
    entries = {
        file.name: sum(isinstance(value, list) for value in json.loads(file.read_bytes()).values())
        for file in files
    }
    return Made(
        data_version=digest([digest_file(file) for file in files]),
        metadata={
            "folder": {"path": str(folder)},
            "method": method,
            "models_from": models_from(pipeline),
            "queries": expected,
            "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 2),
        },
        checks=SUBMISSION_COMPLETE(entries, expected),
        files=files,
    )


def _written(file: Path, content: bytes) -> Path:
    with write_whole(file) as beside:
        beside.write_bytes(content)
    return file

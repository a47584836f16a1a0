"""``…/<recipe>/submission``: the files a data set's test server takes, where test keeps its targets secret."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from cir_assets.assets.inputs import installed_backbone, load_inputs
from cir_assets.assets.ladder import method_queries
from cir_assets.assets.pipeline import Pipeline, names
from cir_assets.assets.step import Made, Step, content_versions, make_or_reuse
from cir_assets.automation import on_upstream_change
from cir_assets.checks import Check
from cir_assets.resources import Storage
from cir_assets.retrieval.protocols import CIRCO, CIRR
from cir_assets.store.files import written_whole
from cir_assets.store.ledger import digest, digest_file

GENERATION = 1

TEST_SERVERS: Mapping[str, tuple[str, str]] = {
    "cirr": (CIRR.name, "https://cirr.cecs.anu.edu.au/test_process/"),
    "circo": (CIRCO.name, "https://circo.micc.unifi.it/"),
}
"""Kind of data set -> the protocol its test server evaluates by, and where that is."""


def submission_asset(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The submission files of one pipeline's best method."""
    graph = pipeline.graph
    protocol, server = TEST_SERVERS[graph.source.kind]
    method = pipeline.methods[-1]
    step = Step(
        pipeline.key("submission"),
        GENERATION,
        {
            "protocol": protocol,
            "method": method,
            "models": [pipeline.model_name(model) for model in pipeline.models],
        },
    )

    @dg.asset(
        key=step.key,
        deps=pipeline.ranked_from(),
        group_name=graph.dataset,
        kinds={"json", "torch"},
        owners=list(graph.owners),
        code_version=step.code_version,
        automation_condition=on_upstream_change(),
        check_specs=[
            dg.AssetCheckSpec(
                "submission_complete",
                asset=step.key,
                blocking=True,
                description="Every test query has its list, of the length the server wants.",
            )
        ],
        description=(
            f"Rankings of `{method}` for the test split, whose targets are secret, as its server takes them "
            f"({server}): JSON files in `storage/reports/{'/'.join(pipeline.place)}/submission/`."
        ),
    )
    def submission(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        versions = content_versions(storage, graph.name("images"), *names(pipeline.ranked_from()))
        return make_or_reuse(
            context, storage, step, versions, lambda _: write_submission(storage, pipeline, protocol, method)
        )

    return submission


def write_submission(storage: Storage, pipeline: Pipeline, protocol: str, method: str) -> Made:
    """Rank the test queries by one method and write the server's files.

    Raises:
        ValueError: when a test query cannot be ranked, as the server refuses incomplete files.
    """
    from torch.nn import functional

    from cir_assets.datasets.sources import read_annotations
    from cir_assets.retrieval.submissions import circo_submission, cirr_submission, document_bytes

    backbone = installed_backbone(storage, pipeline.encoded)
    inputs = load_inputs(storage, pipeline.encoded, backbone)
    asked = {("test", protocol): inputs.query_groups(protocol, "test", with_targets=False)}
    [queries] = method_queries(storage, pipeline, backbone, inputs, asked, [method])
    given = (
        queries.groups,
        queries.queries,
        functional.normalize(queries.inputs.features, dim=1),
        queries.inputs.feature_images["image"].to_list(),
    )
    documents: dict[str, Mapping[str, Any]]
    if protocol == CIRR.name:
        made = cirr_submission(*given)
        documents = {"recall": made.recall, "recall_subset": made.recall_subset}
    else:
        documents = {"test": circo_submission(*given)}
    folder = storage.report(*pipeline.place) / "submission"
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        _written(folder / f"{protocol}_{name}.json", document_bytes(document))
        for name, document in documents.items()
    ]
    # The server counts the queries of the annotations, also those whose pictures are missing here.
    annotations = read_annotations(pipeline.graph.source, storage.raw(pipeline.graph.dataset))
    expected = annotations.triplets.filter(split="test").height
    entries = {
        file.name: sum(isinstance(value, list) for value in json.loads(file.read_bytes()).values())
        for file in files
    }
    said = ", ".join(f"{name} has {count:,} queries" for name, count in entries.items())
    return Made(
        data_version=digest([digest_file(file) for file in files]),
        metadata={
            "folder": {"path": str(folder)},
            "method": method,
            "queries": expected,
            "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 2),
        },
        checks={
            "submission_complete": Check(
                set(entries.values()) == {expected}, f"{said}; the test split has {expected:,}"
            )
        },
        files=files,
    )


def _written(file: Path, content: bytes) -> Path:
    with written_whole(file) as beside:
        beside.write_bytes(content)
    return file

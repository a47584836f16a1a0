"""``backbones/<backbone>``: a backbone's weights on disk, pinned by hash."""

import dagster as dg

from cir_assets.assets.pipeline import backbone_key
from cir_assets.assets.step import Made, Step, materialize_result
from cir_assets.checks import Check
from cir_assets.models.files import BrokenModel, weights_digest
from cir_assets.models.settings import BackboneSettings
from cir_assets.resources import Storage
from cir_assets.store.ledger import Ledger, LedgerEntry

GENERATION = 1


def backbone_step(backbone: str, settings: BackboneSettings) -> Step:
    """The step that installs one backbone."""
    return Step(backbone_key(backbone), GENERATION, settings.model_dump(mode="json"))


def backbone_asset(backbone: str, settings: BackboneSettings) -> dg.AssetsDefinition:
    """The asset that brings one backbone's weights to disk."""
    step = backbone_step(backbone, settings)

    @dg.asset(
        key=step.key,
        group_name="backbones",
        kinds={"huggingface", "safetensors"},
        owners=["team:retrieval"],
        code_version=step.code_version,
        check_specs=[
            dg.AssetCheckSpec(
                "weights_complete",
                asset=step.key,
                blocking=True,
                description="Weights, tokenizer and config lie there.",
            )
        ],
        description=(
            f"Weights, tokenizer and configuration of the dual encoder `{backbone}`, in "
            f"`storage/backbones/{backbone}/`. Its version is the hash of those files."
        ),
    )
    def backbone_weights(context: dg.AssetExecutionContext, storage: Storage) -> dg.MaterializeResult:
        made = install(storage, backbone, settings)
        return materialize_result(step, made, reused=False, severity={})

    return backbone_weights


def install(storage: Storage, backbone: str, settings: BackboneSettings) -> Made:
    """Bring a backbone's files to ``storage/backbones/<backbone>/`` and record their version, and their source's."""
    from cir_assets.models.installation import install_backbone, source_version

    step = backbone_step(backbone, settings)
    folder = storage.backbone(backbone)
    source = source_version(settings)
    remarks = install_backbone(settings, folder)
    version = weights_digest(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    complete = "; ".join(["weights, tokenizer and configuration are complete", *remarks])
    made = Made(
        data_version=version,
        metadata={"folder": {"path": str(folder)}, "megabytes": round(size / 1e6, 2)},
        checks={"weights_complete": Check(True, complete)},
        files=[folder],
    )
    detail = {**made.to_detail(), "source": source}
    Ledger(storage.ledger).record(step.name, LedgerEntry(step.code_version, version, detail))
    return made


def ensure_installed(
    context: dg.AssetExecutionContext, storage: Storage, backbone: str, settings: BackboneSettings
) -> None:
    """Install a backbone on its first use, or where its settings or source changed, and tell Dagster so.

    So ``--select 'group:<dataset>'`` runs a data set whole on a machine that never saw the backbone, and never with
    what another model left under its name. A source that is gone changes nothing: what was installed stays.
    """
    from cir_assets.models.installation import source_version

    step = backbone_step(backbone, settings)
    entry = Ledger(storage.ledger).latest(step.name)
    if entry is not None and storage.backbone(backbone).is_dir() and entry.fingerprint == step.code_version:
        source = source_version(settings)
        if source is None or source == entry.detail.get("source", entry.data_version):
            return
    if entry is not None:
        context.log.info(f"{step.name}: its settings or files are no longer those it was installed from")
    made = install(storage, backbone, settings)
    context.instance.report_runless_asset_event(
        dg.AssetMaterialization(
            step.key,
            metadata={"folder": str(storage.backbone(backbone))},
            tags={"dagster/data_version": made.data_version, "dagster/code_version": step.code_version},
        )
    )


def require_installed(storage: Storage, backbone: str, settings: BackboneSettings, version: str) -> None:
    """Hold the files that were loaded against what was installed last, and that against the settings.

    Raises:
        BrokenModel: when another model lies under this name, or its files changed since.
    """
    step = backbone_step(backbone, settings)
    entry = Ledger(storage.ledger).latest(step.name)
    if entry is None or entry.fingerprint != step.code_version:
        raise BrokenModel(
            f"{storage.backbone(backbone)} was installed from other settings than the YAML has now for {backbone}; "
            f"materialize {step.name}"
        )
    if entry.data_version != version:
        raise BrokenModel(
            f"{storage.backbone(backbone)} does not hold the files that were installed there (version {version}, "
            f"expected {entry.data_version}); materialize {step.name}"
        )

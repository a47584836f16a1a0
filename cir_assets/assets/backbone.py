"""``backbones/<backbone>``: a backbone's weights on disk, pinned by hash."""

import dagster as dg

from cir_assets.assets.pipeline import backbone_key
from cir_assets.assets.step import Step, materialize_result
from cir_assets.models.settings import BackboneSettings
from cir_assets.resources import Storage
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Check, Made

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
    """Bring a backbone's files to ``storage/backbones/<backbone>/`` and record their version."""
    from cir_assets.models.installation import install_backbone, weights_digest

    step = backbone_step(backbone, settings)
    folder = storage.backbone(backbone)
    install_backbone(settings, folder)
    version = weights_digest(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    made = Made(
        data_version=version,
        metadata={"folder": {"path": str(folder)}, "megabytes": round(size / 1e6, 2)},
        checks={"weights_complete": Check(True, "weights, tokenizer and configuration are complete")},
        files=[folder],
    )
    Ledger(storage.ledger).record(step.name, made.to_entry(step.code_version, storage.root))
    return made


def ensure_installed(
    context: dg.AssetExecutionContext, storage: Storage, backbone: str, settings: BackboneSettings
) -> None:
    """Install a backbone on its first use, and tell Dagster that it is there now.

    So ``--select 'group:<dataset>'`` runs a data set whole on a machine that never saw the backbone.
    """
    step = backbone_step(backbone, settings)
    if Ledger(storage.ledger).latest(step.name) is not None and storage.backbone(backbone).is_dir():
        return
    made = install(storage, backbone, settings)
    context.instance.report_runless_asset_event(
        dg.AssetMaterialization(
            step.key,
            metadata={"folder": str(storage.backbone(backbone))},
            tags={"dagster/data_version": made.data_version, "dagster/code_version": step.code_version},
        )
    )

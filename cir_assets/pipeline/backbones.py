"""``backbones/<backbone>``: a backbone's weights on disk, pinned by hash."""

from __future__ import annotations

from cir_assets.models.settings import BackboneSettings
from cir_assets.pipeline.checks import WEIGHTS_COMPLETE
from cir_assets.pipeline.identity import backbone_name
from cir_assets.pipeline.step import Plan, Step, Work, run
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Made


def backbone_step(backbone: str, settings: BackboneSettings) -> Step:
    """The step that installs one backbone."""
    return Step(
        backbone_name(backbone),
        1,
        lambda work: Plan({}, lambda _: install(work, backbone, settings)),
        settings.model_dump(mode="json"),
        looks_each_time=True,
    )


def install(work: Work, backbone: str, settings: BackboneSettings) -> Made:
    """Bring a backbone's files to ``storage/backbones/<backbone>/``; their version is the hash of the files."""
    from cir_assets.models.installation import install_backbone, weights_digest

    folder = work.storage.backbone(backbone)
    install_backbone(settings, folder)
    files = sorted(folder.iterdir())
    return Made(
        data_version=weights_digest(folder),
        metadata={
            "folder": {"path": str(folder)},
            "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 2),
        },
        checks=WEIGHTS_COMPLETE([file.name for file in files]),
        files=[folder],
    )


def install_on_first_use(work: Work, backbone: str, settings: BackboneSettings) -> None:
    """Install a backbone that is not there yet, so that a data set runs whole where it never was."""
    step = backbone_step(backbone, settings)
    if Ledger(work.storage.ledger).latest(step.name) is None or not work.storage.backbone(backbone).is_dir():
        made, _ = run(step, work)
        work.also_made(step, made)

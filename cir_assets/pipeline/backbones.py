"""``backbones/<backbone>``: a backbone's weights on disk, pinned by hash."""

from __future__ import annotations

from cir_assets.models.files import BrokenModel, weights_digest
from cir_assets.models.settings import BackboneSettings
from cir_assets.pipeline.checks import WEIGHTS_COMPLETE
from cir_assets.pipeline.identity import backbone_name
from cir_assets.pipeline.step import Plan, Step, Work, run
from cir_assets.store.ledger import Ledger
from cir_assets.store.made import Made

SOURCE = "source"
"""What the version of the files it was installed from is called."""


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
    from cir_assets.models.installation import install_backbone, source_version

    folder = work.storage.backbone(backbone)
    source = source_version(settings)
    remarks = install_backbone(settings, folder)
    files = sorted(folder.iterdir())
    return Made(
        data_version=weights_digest(folder),
        metadata={
            "folder": {"path": str(folder)},
            "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 2),
            SOURCE: source,
        },
        checks=WEIGHTS_COMPLETE([file.name for file in files], remarks),
        files=[folder],
    )


def install_on_first_use(work: Work, backbone: str, settings: BackboneSettings) -> None:
    """Install a backbone on its first use, and where its settings or its source changed.

    So a data set runs whole where the backbone never was, and never with what another model left under its name. A
    source that is gone changes nothing: what was installed stays.
    """
    from cir_assets.models.installation import source_version

    step = backbone_step(backbone, settings)
    entry = Ledger(work.storage.ledger).latest(step.name)
    if (
        entry is not None
        and work.storage.backbone(backbone).is_dir()
        and entry.fingerprint == step.code_version
    ):
        source = source_version(settings)
        if source is None or source == entry.detail["metadata"].get(SOURCE, entry.data_version):
            return
    if entry is not None:
        work.say(f"{step.name}: its settings or files are no longer those it was installed from")
    made, _ = run(step, work)
    work.also_made(step, made)


def require_installed(work: Work, backbone: str, settings: BackboneSettings, version: str) -> None:
    """Hold the files that were loaded against what was installed last, and that against the settings.

    Raises:
        BrokenModel: when another model lies under this name, or its files changed since.
    """
    step, folder = backbone_step(backbone, settings), work.storage.backbone(backbone)
    entry = Ledger(work.storage.ledger).latest(step.name)
    if entry is None or entry.fingerprint != step.code_version:
        raise BrokenModel(
            f"{folder} was installed from other settings than the YAML has now for {backbone}; "
            f"materialize {step.name}"
        )
    if entry.data_version != version:
        raise BrokenModel(
            f"{folder} does not hold the files that were installed there (version {version}, "
            f"expected {entry.data_version}); materialize {step.name}"
        )

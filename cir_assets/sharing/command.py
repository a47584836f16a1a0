"""``cir-assets export`` and ``cir-assets push``: models as people pass them on."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click


@click.command()
@click.argument("dataset")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write; it must not be there yet.",
)
@click.option("--pipeline", help="backbone/recipe; by default that with the best headline on val.")
@click.option("--onnx", is_flag=True, help="Text tower and head as ONNX too; needs the extra onnx.")
def export(dataset: str, folder: Path, pipeline: str | None, onnx: bool) -> None:
    """Write the champion of DATASET as one folder: encoders, head, how pictures are prepared, and a card.

    It loads by ComposedRetrieval.from_pretrained, from there or from the Hub (cir-assets push).
    """
    from cir_assets.models.files import BrokenModel
    from cir_assets.serving.export import BrokenExport, NothingExported
    from cir_assets.sharing.champion_folder import FolderThere, export_champion
    from cir_assets.store.layout import Storage

    if onnx and not all(map(find_spec, ("onnx", "onnxscript"))):
        raise click.ClickException("--onnx needs the extra: pip install 'cir-assets[onnx]'")
    try:
        about, files = export_champion(Storage(), dataset, pipeline, folder)
        if onnx:
            from cir_assets.models.onnx import write_onnx
            from cir_assets.models.portable import ComposedRetrieval

            files += write_onnx(ComposedRetrieval(folder), folder)
    except (BrokenExport, BrokenModel, FolderThere, NothingExported, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    size = sum(file.stat().st_size for file in files)
    click.echo(
        f"{about.dataset}/{about.backbone}/{about.recipe}, {about.method}: {len(files)} files, {size / 1e6:.1f} MB"
    )
    click.echo(f"folder: {folder}")


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("repository")
@click.option("--private", is_flag=True, help="Only for those you let in; otherwise the Hub's default.")
@click.option("--message", default="Written by cir-assets", show_default=True, help="Of the commit.")
def push(folder: Path, repository: str, private: bool, message: str) -> None:
    """Send FOLDER, an exported pipeline or a model's version, to REPOSITORY of the Hub, such as me/my-shop.

    Whoever you are there is told by the token that `hf auth login` kept, or HF_TOKEN.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    from cir_assets.models.files import CARD, CONFIG

    lacking = [name for name in (CARD, CONFIG) if not (folder / name).is_file()]
    if lacking:
        raise click.ClickException(
            f"{folder} lacks {' and '.join(lacking)}: name a folder that cir-assets export wrote, or a version of an "
            "evaluated model below storage/models/"
        )
    api = HfApi()
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        # What training keeps for itself stays here.
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=message, ignore_patterns=["*.parquet"]
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise click.ClickException(f"{repository} was not written: {error}") from error
    click.echo(f"{done.commit_url}")

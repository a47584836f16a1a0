"""``dg scaffold defs``: asks for what a data set or a backbone needs, and writes a YAML that works as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click
import dagster as dg
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cir_assets.components.fitting import embedded_backbones, fit_catalogue, fit_wardrobe, written
from cir_assets.components.loading import InvalidDefinition, checked_name
from cir_assets.components.specification import BackbonesSpec
from cir_assets.datasets.tables import BrokenAnnotations
from cir_assets.store.files import write_whole


class DatasetParameters(BaseModel):
    """What ``dg scaffold defs Dataset`` asks for."""

    model_config = ConfigDict(extra="forbid")

    pictures: str | None = Field(
        default=None,
        description="Folder of pictures, or a ZIP or TAR of one; without it the embedded wardrobe is written.",
    )
    triplets: str | None = Field(
        default=None,
        description="CSV, TSV, JSONL, Parquet or .xlsx table with reference, target and caption.",
    )


class BackbonesParameters(BaseModel):
    """What ``dg scaffold defs Backbones`` asks for."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="tiny_clip", description="Name of the backbone in data sets' YAML.")
    kind: Literal["embedded", "folder", "hub", "open_clip"] = Field(
        default="embedded", description="Where its weights come from."
    )
    place: str = Field(
        default="tiny_clip", description="Its name, folder, repository or architecture, as the kind asks."
    )


class DatasetScaffolder(dg.Scaffolder[DatasetParameters]):
    """Reads the pictures and the table that are named and writes what fits them."""

    @classmethod
    def get_scaffold_params(cls) -> type[DatasetParameters]:
        """What is asked for."""
        return DatasetParameters

    def scaffold(self, request: dg.ScaffoldRequest[DatasetParameters]) -> None:
        """Write ``defs.yaml``, and the backbones' beside it where there is none.

        Raises:
            click.ClickException: when a name, the pictures or the table will not do.
        """
        require_yaml(request)
        asked = request.params
        try:
            checked_name(request.target_path.name, request.target_path)
            if asked.pictures is None and asked.triplets is not None:
                raise InvalidDefinition("triplets are of pictures: name --pictures too")
            fitted = fit_catalogue(asked.pictures, asked.triplets) if asked.pictures else fit_wardrobe()
        except (InvalidDefinition, BrokenAnnotations, OSError) as error:
            raise refused(request, error) from error
        backbones = request.target_path.with_name("backbones") / "defs.yaml"
        if not backbones.exists():
            write(backbones, embedded_backbones())
        write(request.target_path / "defs.yaml", fitted.yaml(request.type_name))


class BackbonesScaffolder(dg.Scaffolder[BackbonesParameters]):
    """Writes the backbones' file with one."""

    @classmethod
    def get_scaffold_params(cls) -> type[BackbonesParameters]:
        """What is asked for."""
        return BackbonesParameters

    def scaffold(self, request: dg.ScaffoldRequest[BackbonesParameters]) -> None:
        """Write ``defs.yaml``.

        Raises:
            click.ClickException: when kind and place do not go together.
        """
        require_yaml(request)
        asked = request.params
        backbone = {"kind": asked.kind, "place": asked.place}
        if asked.kind == "open_clip":
            backbone["pretrained"] = "openai"
        attributes = {"backbones": {asked.name: backbone}}
        try:
            BackbonesSpec.model_validate(attributes)
        except ValidationError as error:
            raise refused(request, error) from error
        write(request.target_path / "defs.yaml", written(request.type_name, attributes))


def require_yaml(request: dg.ScaffoldRequest[Any]) -> None:
    """Refuse what these components are not written as.

    Raises:
        click.ClickException: when Python is asked for, or a second component in one file.
    """
    if request.scaffold_format != "yaml" or request.append:
        raise click.ClickException("a data set is a folder of its own with a defs.yaml: leave --format out")


def refused(request: dg.ScaffoldRequest[Any], error: Exception) -> click.ClickException:
    """What a person is told; the folder goes that was made for the file that is not to be."""
    if not any(request.target_path.iterdir()):
        request.target_path.rmdir()
    return click.ClickException(str(error))


def write(file: Path, text: str) -> None:
    """Write a new file whole, its folder too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(file) as beside:
        beside.write_text(text, encoding="utf-8")

"""What the YAML files may say: the models their ``attributes`` are checked against."""

from __future__ import annotations

from typing import Annotated, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dagster as dg
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from cir_assets.datasets.sources import Source
from cir_assets.engines.cores import granted_cores
from cir_assets.models.settings import BackboneSettings, ModelsOf, ReferenceCheckpoints, ZeroShot
from cir_assets.pictures.settings import PIXEL_LIMIT
from cir_assets.pipeline.identity import BROUGHT
from cir_assets.retrieval.methods import METHODS
from cir_assets.retrieval.promotion import PromotionRule
from cir_assets.retrieval.protocols import DEFAULT_PROTOCOL, ProtocolName
from cir_assets.retrieval.ranking_files import RankingFile
from cir_assets.training.settings import Recipe, named_recipe

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
"""Names of data sets, backbones and recipes: they become asset keys, groups and file names."""

PipelineRecipe = Recipe | ModelsOf | ReferenceCheckpoints | ZeroShot
"""Where a pipeline's models come from."""


class Schedule(BaseModel):
    """When a data set's roots are refreshed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str = Field(description="Five-field cron expression, for example '0 3 * * 1' for Mondays at three.")
    timezone: str = Field(default="UTC", description="IANA time zone the expression is read in.")

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, cron: str) -> str:
        try:
            dg.ScheduleDefinition(name="asked", cron_schedule=cron, target="*")
            five_fields = len(cron.split()) == 5
        except dg.DagsterInvalidDefinitionError:
            five_fields = False
        if not five_fields:
            raise ValueError(
                f"{cron!r} is no cron expression of five fields: minute, hour, day of the month, month, day of the "
                "week; '0 3 * * 1' is Mondays at three"
            )
        return cron

    @field_validator("timezone")
    @classmethod
    def _known_time_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{timezone!r} is no IANA time zone; Europe/Rome and UTC are") from None
        return timezone


class DatasetSpec(BaseModel):
    """What ``attributes`` of a data set's ``defs.yaml`` may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Source = Field(description="The kind of data set and where it lies.")
    description: str = Field(default="", description="One sentence about the data set, shown in the UI.")
    protocols: list[ProtocolName] = Field(
        default=[DEFAULT_PROTOCOL],
        min_length=1,
        description="Evaluation protocols; the first one's headline on val chooses the best epoch.",
    )
    backbones: list[Name] = Field(
        min_length=1, description="Backbones by name, each defined in cir_assets/defs/backbones/defs.yaml."
    )
    recipes: dict[Name, Annotated[Recipe, BeforeValidator(named_recipe)]] = Field(
        default_factory=dict,
        description=(
            "What is trained here: hyper-parameters by name of recipe, an empty mapping value means the paper's, the "
            "word auto those that are chosen from the data. "
            "Without recipes, models_of and checkpoints the recipe paper is trained; a catalogue without triplets "
            "is searched zero-shot."
        ),
    )
    models_of: dict[Name, ModelsOf] = Field(
        default_factory=dict,
        description="What is trained on other data sets and evaluated here, by a name of one's own.",
    )
    checkpoints: dict[Name, ReferenceCheckpoints] = Field(
        default_factory=dict,
        description="Published checkpoints of the reference implementation, by a name of one's own.",
    )
    rankings: dict[Name, RankingFile] = Field(
        default_factory=dict,
        description=(
            "What other systems found for the queries, by a name of one's own: files of ids, evaluated as methods "
            "beside those trained here."
        ),
    )
    promotion: PromotionRule = Field(
        default=PromotionRule(),
        description="When newly trained models take the champion's place, and how many versions are kept.",
    )
    schedule: Schedule | None = Field(
        default=None, description="When the roots are refreshed; none: only when a person asks."
    )
    watch_every_seconds: int = Field(
        default=60,
        ge=5,
        description="Between two looks at a catalogue's files; they must be the same in two of them to be read.",
    )
    hold_when_pictures_shrink_by: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description=(
            "A refresh that lost more than this share of the pictures or triplets waits for a person; 1 never waits."
        ),
    )
    owners: list[str] = Field(
        default=["team:retrieval"], description="Owners shown in the UI: e-mail addresses or team:<name>."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run; auto takes CUDA where there is a device."
    )
    encoding_batch_size: int = Field(default=256, ge=1, le=8192, description="Pictures encoded at once.")
    decoding_workers: int = Field(
        default_factory=lambda: min(2, granted_cores()),
        ge=0,
        le=128,
        description="Processes that decode pictures ahead, by default 2, or 1 on a single core; 0 decodes in the step.",
    )
    pixel_limit: int = Field(
        default=PIXEL_LIMIT, ge=1, description="Pictures of more pixels are refused before they are decoded."
    )

    @property
    def all_recipes(self) -> dict[str, PipelineRecipe]:
        """Every pipeline of this data set by name, wherever its models come from."""
        named: dict[str, PipelineRecipe] = {}
        named |= self.recipes
        named |= self.models_of
        named |= self.checkpoints
        if not named and not self.source.has_triplets:
            return {"zero_shot": ZeroShot()}
        return named or {"paper": Recipe()}

    @model_validator(mode="after")
    def _rankings_by_names_of_their_own(self) -> DatasetSpec:
        if taken := sorted(self.rankings.keys() & METHODS.keys()):
            raise ValueError(
                f"rankings: {taken[0]!r} is a method of the ladder; give the ranking another name"
            )
        if BROUGHT in self.backbones:
            raise ValueError(f"a backbone called {BROUGHT!r} stands in the way of rankings; rename it")
        return self

    @model_validator(mode="after")
    def _names_once(self) -> DatasetSpec:
        for name in self.models_of.keys() | self.checkpoints.keys():
            if sum(name in named for named in (self.recipes, self.models_of, self.checkpoints)) > 1:
                raise ValueError(
                    f"{name!r} stands under more than one of recipes, models_of and checkpoints; rename one of them"
                )
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _locate_by_the_keys_of_the_file(
        cls, value: object, handler: ModelWrapValidatorHandler[DatasetSpec]
    ) -> DatasetSpec:
        """Errors below ``source`` carry the kind in their place; without it the place is that in the file."""
        try:
            return handler(value)
        except ValidationError as error:
            details = [
                {**detail, "loc": tuple(part for i, part in enumerate(loc) if (i, loc[0]) != (1, "source"))}
                for detail in error.errors()
                for loc in [detail["loc"]]
            ]
            raise ValidationError.from_exception_data(
                error.title, cast("list[InitErrorDetails]", details)
            ) from None


class BackbonesSpec(BaseModel):
    """What ``attributes`` of the backbones' ``defs.yaml`` may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbones: dict[Name, BackboneSettings] = Field(
        min_length=1, description="CLIP-like dual encoders by name: where their weights come from."
    )

"""Whether a challenger takes the champion's place: the rule, and what it says of a paired difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from cir_assets.retrieval.bootstrap import Difference


class PromotionRule(BaseModel):
    """When a challenger is promoted, what a refusal does, and how many versions of a model are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    margin: float = Field(
        default=0.5,
        ge=0,
        le=100,
        description="Points of the headline on val that the 95 % interval of the difference may reach below 0.",
    )
    better_on_average: bool = Field(
        default=True, description="Whether the difference itself must be above 0 besides."
    )
    on_refusal: Literal["block", "warn"] = Field(
        default="block",
        description="block: a refusal fails the check of champion, which stays as it was; warn: it is only told.",
    )
    keep_versions: int = Field(
        default=3,
        ge=2,
        le=1000,
        description=(
            "Newest versions of each model that stay on disk; every version that ever was champion stays besides. "
            "At least two, as one may still be read while the next is made."
        ),
    )
    warn_after_days: int = Field(
        default=30, ge=1, description="Days without a champion made or confirmed after which the UI warns."
    )
    stale_after_days: int = Field(
        default=90, le=3650, description="Days after which the champion fails its freshness policy."
    )

    @model_validator(mode="after")
    def _warn_first(self) -> PromotionRule:
        if self.warn_after_days >= self.stale_after_days:
            raise ValueError(
                f"warn_after_days is {self.warn_after_days}, which must be less than stale_after_days, "
                f"{self.stale_after_days}"
            )
        return self

    def judge(self, difference: Difference) -> tuple[bool, str]:
        """Say whether the challenger is promoted, and why, in a sentence.

        Args:
            difference: challenger minus champion in points of the headline, paired over the same queries.
        """
        said = f"{difference.value:+.2f} points (95 % {difference.low:+.2f} to {difference.high:+.2f})"
        worse = difference.high < 0
        if difference.low <= -self.margin:
            reaches = f"the interval reaches {-self.margin:+g} or below, so it may be worse"
            return False, f"{said}: {'it is worse' if worse else reaches}"
        if self.better_on_average and difference.value <= 0:
            return False, f"{said}: {'it is worse' if worse else 'not better on average'}"
        return True, f"{said}: not worse by more than {self.margin:g}" + (
            ", and better on average" if self.better_on_average else ""
        )

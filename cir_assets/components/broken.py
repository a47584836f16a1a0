"""``<dataset>/broken_definition``: what stands in the graph for a data set whose YAML is wrong."""

import dagster as dg

from cir_assets.components.loading import NAME_PATTERN, explained


def broken_definition(name: str, error: Exception) -> dg.AssetsDefinition:
    """One asset that says what is wrong."""
    said = explained(error)
    dg.get_dagster_logger().error(f"data set {name} is left out: {said}")

    @dg.asset(
        key=[name, "broken_definition"],
        group_name=name if NAME_PATTERN.match(name) else None,
        kinds={"error"},
        description=f"This data set is left out, as its definition is wrong; the others go on. {said}",
    )
    def broken() -> None:
        raise dg.Failure(said)

    return broken

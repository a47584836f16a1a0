"""Values such as ``{{ env.SHOP_PICTURES }}`` in a YAML: allowed everywhere, filled in when a component is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

import dagster as dg
from jinja2 import Template
from pydantic import (
    BaseModel,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    RootModel,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema

from cir_assets.components.loading import InvalidDefinition, at

OPENING = "{{"
PATTERN = r"\{\{"

Spec = TypeVar("Spec", bound=BaseModel)


class Attributes(RootModel[Any], Generic[Spec]):
    """A component's attributes as its file has them; a subclass names the model they are checked against.

    Checked at once where nothing is a template, so that mistakes are told before anything is loaded, and else when
    the templates are filled in.
    """

    spec: ClassVar[type[BaseModel]]

    @model_validator(mode="wrap")
    @classmethod
    def _check_what_is_no_template(
        cls, value: object, handler: ModelWrapValidatorHandler[Attributes[Spec]]
    ) -> Attributes[Spec]:
        return cls.model_construct(root=value if is_templated(value) else cls.spec.model_validate(value))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The schema editors and ``dg check yaml`` use: that of the model, with a template in every value."""
        schema = cls.spec.model_json_schema()
        return cast("dict[str, Any]", templating(schema, schema.pop("$defs", {})))

    def filled(self, context: dg.ComponentLoadContext) -> Spec:
        """The checked attributes, with every template filled in.

        Raises:
            InvalidDefinition: when what a template gives will not do there, naming file, line and key.
            Exception: Dagster's own, when a template names what there is not.
        """
        if isinstance(self.root, self.spec):
            return cast("Spec", self.root)
        try:
            return cast("Spec", self.spec.model_validate(fill(self.root, context.resolution_context)))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise InvalidDefinition(
                f"{at(context, *first['loc'])}: attributes.{key}: {first['msg']}, once its templates are filled in"
            ) from None


def is_templated(value: object) -> bool:
    """Whether some text in a nested value is a template."""
    if isinstance(value, Mapping):
        return any(map(is_templated, value.values()))
    if isinstance(value, str):
        return OPENING in value
    return isinstance(value, Sequence) and any(map(is_templated, value))


def fill(value: Any, context: dg.ResolutionContext) -> Any:
    """Fill in the templates of a nested value.

    What a template gives is text, as environment variables are, so that a secret of digits stays what it is; the
    model makes numbers of it where it wants some. Lists and mappings of one's own template variables stay such.
    """
    if isinstance(value, Mapping):
        return {key: fill(each, context.at_path(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [fill(each, context.at_path(place)) for place, each in enumerate(value)]
    if not (isinstance(value, str) and OPENING in value):
        return value
    native: object = context.resolve_value(value, as_type=object)
    return native if isinstance(native, list | dict) else Template(value).render(**context.scope)


def templating(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A JSON schema that takes a template in place of every value but those that tell kinds apart.

    What it refers to stands in its place, so that it may be part of another's: no model refers to itself.
    """
    if isinstance(schema, list):
        return [templating(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        meant = definitions[schema["$ref"].rpartition("/")[2]]
        return templating({**meant, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    changed = {
        key: {name: templating(each, definitions) for name, each in value.items()}
        if key in ("properties", "patternProperties")
        else templating(value, definitions)
        if key in ("items", "additionalProperties", "anyOf", "oneOf")
        else value
        for key, value in schema.items()
        # Its mapping refers to what stands elsewhere; the constants tell kinds apart as well.
        if key != "discriminator"
    }
    kind = changed.get("type")
    if "const" in changed:
        return changed
    if "enum" in changed:
        told = {key: changed.pop(key) for key in ("title", "description", "default") if key in changed}
        return {"anyOf": [changed, {"type": "string", "pattern": PATTERN}], **told}
    if kind in ("integer", "number", "boolean"):
        changed |= {"type": [kind, "string"], "pattern": PATTERN}
    elif kind == "string" and "pattern" in changed:
        changed["pattern"] = f"(?:{changed['pattern']})|{PATTERN}"
    return changed

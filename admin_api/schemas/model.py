"""What every model of a request or an answer has in common.

Unknown fields are ignored and their names returned, so that a client hears of a misspelt one. A
boolean is a JSON boolean and a text is a text; texts carry no control characters unless a field
says so.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
)

from admin_api.problems import Problem
from relay.config.explained import explained
from relay.formats.characters import has_forbidden

TEXT_MAX_CHARS = 10_000
NUMBER_MAX = 2**53 - 1  # the largest that JSON readers agree on (RFC 8259 §6)
HORIZON_S = 366 * 86_400


def explain(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Add to the JSON schema of a model what is written under its fields."""
    for name, text in explained(model).items():
        schema["properties"][model.model_fields[name].alias or name]["description"] = text


class Model(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
        hide_input_in_errors=True,
        json_schema_extra=explain,
        # A node uses few of them: each is worked out when it first is (1 to 4 ms).
        defer_build=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
    )


M = TypeVar("M", bound=Model)


def _printable(text: str) -> str:
    if has_forbidden(text):
        raise ValueError("control characters are not accepted")
    return text


Text = Annotated[str, StringConstraints(max_length=TEXT_MAX_CHARS), AfterValidator(_printable)]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[^\s/@](?:.*\S)?$"),
    AfterValidator(_printable),
]
TenantId = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]
Flag = StrictBool
Count = Annotated[int, Field(ge=0, le=NUMBER_MAX, strict=True)]
Positive = Annotated[int, Field(ge=1, le=NUMBER_MAX, strict=True)]
Port = Annotated[int, Field(ge=1, le=65_535, strict=True)]
Number = Annotated[float, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Seconds = Annotated[float, Field(ge=0, le=NUMBER_MAX)]
Lifetime = Annotated[float, Field(gt=0, le=HORIZON_S, strict=True)]
Attempts = Annotated[int, Field(ge=1, le=10_000, strict=True)]
Limit = Annotated[int, Field(ge=1, le=10_000)]
Cursor = Annotated[str, StringConstraints(max_length=1024)]


class Ok(Model):
    ok: bool = True
    warnings: list[str] | None = None
    """Fields of the request that are unknown and were ignored."""


class Page(Model):
    limit: Limit | None = None
    """The most items to return; without it, all."""
    cursor: Cursor | None = None
    """`next_cursor` of the page before."""


class OfTenant(Model):
    tenant_id: TenantId


class TenantPage(Page):
    tenant_id: TenantId


class Invalid(Model):
    loc: list[str | int]
    msg: str
    type: str


class Failure(Model):
    """Every answer that is no success."""

    detail: str | list[Invalid] | dict[str, object]


def parse(model: type[M], values: Mapping[str, object], *, place: str) -> M:
    """Make a model of a JSON object or of a query. Raises 422, naming each value that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise Problem(422, failures(error, place)) from None


def failures(error: ValidationError, place: str) -> list[dict[str, object]]:
    return [
        {"loc": [place, *item["loc"]], "msg": item["msg"], "type": item["type"]}
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def known_fields(model: type[Model]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())

"""The OpenAPI 3.1 document, made from the table of routes and the models they name."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from admin_api.idempotency import KEY_MAX_CHARS
from admin_api.routes import Access, Route
from admin_api.schemas.model import Failure, Model

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)\}")
_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A name of this call, unique among the caller's own: it may then be repeated.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX_CHARS, "pattern": "^[!-~]+$"},
}
_ALWAYS = {
    401: "The token is missing, wrong or of another tenant",
    429: "Too many wrong tokens from this address; see Retry-After",
}


def document(routes: Sequence[Route], version: str) -> Json:
    """Return the document for these routes."""
    schemas = _schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    queries = {route.query.__name__ for route in routes if route.query}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pillarbox",
            "version": version,
            "description": "A drop-in SMTP relay. Times are Unix seconds (UTC).",
        },
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-API-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _schemas(routes: Sequence[Route]) -> Mapping[str, Json]:
    taken = {model for route in routes for model in (route.body, route.query) if model}
    given: set[type[Model]] = {Failure, *(route.answer for route in routes if route.answer)}
    wanted: list[tuple[type[Model], JsonSchemaMode]] = [(model, "validation") for model in taken]
    wanted += [(model, "serialization") for model in given]
    _, found = models_json_schema(wanted, ref_template=_REF)
    schemas: dict[str, Json] = found["$defs"]
    return dict(sorted(schemas.items()))


def _operation(route: Route, schemas: Mapping[str, Json]) -> Json:
    operation: Json = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "tags": [_resource_of(route)],
        "parameters": [
            *_path_parameters(route),
            *_query_parameters(route, schemas),
            *([_KEY] if route.takes_key else []),
        ],
        "responses": _responses(route),
        "security": [] if route.access is Access.OPEN else [{"token": []}, {"bearer": []}],
    }
    if route.description:
        operation["description"] = route.description
    if route.body:
        operation["requestBody"] = _body(route.body_type, _ref(route.body))
        operation["requestBody"]["required"] = not route.body_is_optional
    elif route.body_type != "application/json":
        operation["requestBody"] = _body(route.body_type, {"type": "string", "format": "binary"})
    return operation


def _resource_of(route: Route) -> str:
    """Name what the route is about, as its file is called."""
    return route.handler.__module__.rpartition(".")[2].replace("_", "-")


def _path_parameters(route: Route) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(route: Route, schemas: Mapping[str, Json]) -> list[Json]:
    if route.query is None:
        return []
    schema = schemas[route.query.__name__]
    properties, required = schema["properties"], schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": value}
        for name, value in properties.items()
    ]


def _responses(route: Route) -> Json:
    answer = _ref(route.answer) if route.answer else {"type": "string"}
    responses: Json = {
        "200": {"description": "Done", "content": {route.answer_type: {"schema": answer}}}
    }
    for status, description in sorted(_failures_of(route).items()):
        content = {"application/json": {"schema": _ref(Failure)}}
        responses[str(status)] = {"description": description, "content": content}
    return responses


def _failures_of(route: Route) -> dict[int, str]:
    failures: dict[int, str] = {}
    if route.access is not Access.OPEN:
        failures |= _ALWAYS
        failures[503] = "Temporarily unavailable: see Retry-After"
    if route.access is Access.ADMIN:
        failures[403] = "The admin token is required"
    if route.body or route.query:
        failures[413] = "The request is too large"
        failures[422] = "The request is not understood; the detail says where"
    if route.body or route.body_type != "application/json":
        failures |= {
            415: "The body is of another type",
            507: "No space left",
        }
    return failures | dict(route.failures)


def _body(content_type: str, schema: Json) -> Json:
    return {"required": True, "content": {content_type: {"schema": schema}}}


def _ref(model: type[Model]) -> Json:
    return {"$ref": _REF.format(model=model.__name__)}

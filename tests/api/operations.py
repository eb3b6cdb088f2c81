"""The operations of the OpenAPI document, each with a request that is made from its schemas.

A route that is added is found here without anybody thinking of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from admin_api.app import ROUTES
from admin_api.openapi import document
from tests.api.serving import Json

DOCUMENT = document(ROUTES, "1.2.3")

# What a value must be where its type alone does not make it valid.
VALUES: Json = {"from": "a@acme.test", "to": "b@there.test", "host": "up.test", "port": 25}
VALUES["address"] = "c@there.test"
# What is needed though the schema cannot say so: an account has a host unless it captures.
NEEDED = frozenset({"host", "port"})


@dataclass
class Request:
    """One request; `names_tenant` says that a tenant can be named in it."""

    method: str
    route: str
    path: str
    query: Json = field(default_factory=dict)
    body: Json | None = None
    content: bytes | None = None
    names_tenant: bool = False
    is_admins: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    @property
    def options(self) -> Json:
        headers = {} if self.content is None else {"Content-Type": "message/rfc822"}
        given = {"json": self.body} if self.body is not None else {"content": self.content}
        return {"params": self.query, "headers": headers, **given}


def requests(tenant_id: str, path_id: str, ids: list[str] | None = None) -> Iterator[Request]:
    """Make a valid request for each operation that needs a token; `tenant_id` wherever a tenant can
    be named, `path_id` in the path, `ids` where a body takes them.
    """
    for route, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            if operation["security"]:
                yield request_of(method.upper(), route, operation, tenant_id, path_id, ids)


def is_admins(operation: Json) -> bool:
    """Say whether a route is the admin's as a whole: a tenant may be refused a part of another."""
    refusal = operation["responses"].get("403")
    return refusal is not None and refusal["description"] == "The admin token is required"


def request_of(
    method: str, route: str, operation: Json, tenant_id: str, path_id: str, ids: list[str] | None
) -> Request:
    path = route
    request = Request(method, route, route, is_admins=is_admins(operation))
    for parameter in operation["parameters"]:
        name = parameter["name"]
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", path_id)
        elif parameter["in"] == "query" and name == "tenant_id":
            request.query[name] = tenant_id
            request.names_tenant = True
        elif parameter["in"] == "query" and parameter["required"]:
            request.query[name] = example(name, parameter["schema"])
    request.path = path
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        if kind == "application/json":
            request.body = body_of(content["schema"], tenant_id, ids)
            request.names_tenant |= "tenant_id" in str(request.body)
        else:
            request.content = b"Subject: hello\r\n\r\n"
    return request


def body_of(schema: Json, tenant_id: str, ids: list[str] | None) -> Json:
    schema = resolved(schema)
    body: Json = example("", schema)
    properties = schema["properties"]
    if "tenant_id" in properties:
        body["tenant_id"] = tenant_id
    if "messages" in properties:
        message = resolved(properties["messages"]["items"])
        body["messages"] = [{**example("", message), "tenant_id": tenant_id}]
    if "ids" in properties and ids is not None:
        body["ids"] = ids
    return body


def resolved(schema: Json) -> Json:
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        else:
            schema = schema["anyOf"][0]
    return schema


def example(name: str, schema: Json) -> Any:
    """Make the least that a schema takes."""
    if name in VALUES:
        return VALUES[name]
    schema = resolved(schema)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        wanted = {*schema.get("required", []), *(NEEDED & properties.keys())}
        return {key: example(key, properties[key]) for key in sorted(wanted)}
    if schema.get("type") == "array":
        return []
    made = {"string": "x", "integer": 1, "number": 1.0, "boolean": True}
    return made[schema["type"]]

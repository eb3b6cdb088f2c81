"""/openapi.json and /docs: all that is served is described, and what is described is served."""

from typing import Any

import httpx
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from admin_api.app import ROUTES
from admin_api.openapi import Json, document
from tests.api.serving import Api, Message

DOCUMENT = document(ROUTES, "1.2.3")


def answer_schema(route_path: str, method: str, status: str = "200") -> Json:
    operation = DOCUMENT["paths"][route_path][method]
    schema: Json = operation["responses"][status]["content"]["application/json"]["schema"]
    return {**schema, "components": DOCUMENT["components"]}


def check(answer: httpx.Response, route_path: str) -> None:
    schema = answer_schema(route_path, answer.request.method.lower(), str(answer.status_code))
    OAS31Validator(schema).validate(answer.json())


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [route.handler.__name__ for route in ROUTES]
    assert len(set(names)) == len(names)


def test_secrets_are_in_no_answer() -> None:
    taken = {"AccountInput", "TenantInput", "TenantChange", "ClientAuth", "CredentialInput"}
    for name, schema in DOCUMENT["components"]["schemas"].items():
        secrets = {"imap_password", "callback_secret", "token"} & schema.get(
            "properties", {}
        ).keys()
        assert not secrets or name in taken


async def test_the_document_is_served_without_a_token(nobody: httpx.AsyncClient) -> None:
    served: dict[str, Any] = (await nobody.get("/openapi.json")).json()
    assert served["paths"].keys() == DOCUMENT["paths"].keys()


async def test_the_docs_name_every_route_and_load_nothing_from_elsewhere(
    nobody: httpx.AsyncClient,
) -> None:
    answer = await nobody.get("/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    for route in ROUTES:
        assert f"{route.method} {route.path}" in answer.text
    assert "<script" not in answer.text
    assert "http://" not in answer.text.replace("http:// or", "")
    assert "https://" not in answer.text.replace("or https://", "")


async def test_answers_are_as_they_are_described(
    api: Api, acme: httpx.AsyncClient, admin: httpx.AsyncClient, message: Message
) -> None:
    await admin.put("/tenant/acme", json={"client_auth": {"method": "bearer", "token": "t"}})
    added = await acme.post("/commands/add-messages", json={"messages": [message(), {}]})
    check(added, "/commands/add-messages")
    check(
        await acme.post("/commands/add-messages", json={"messages": [{}]}), "/commands/add-messages"
    )
    check(await acme.post("/credential", json={"username": "u"}), "/credential")
    check(await acme.post("/credential", json={}), "/credential")
    of_acme = {"tenant_id": "acme"}
    for path in ("/accounts", "/credentials", "/messages", "/status", "/tenants"):
        check(await admin.get(path, params=of_acme), path)
    history = {**of_acme, "include_history": "true"}
    check(await acme.get("/messages", params=history), "/messages")
    check(await acme.get("/messages/m1", params=of_acme), "/messages/{id}")
    check(await acme.get("/messages/none", params=of_acme), "/messages/{id}")
    check(await acme.get("/tenant/acme"), "/tenant/{id}")
    check(await admin.post("/tenant", json={"id": "third"}), "/tenant")
    check(await acme.get("/health"), "/health")
    check(await acme.get("/ready"), "/ready")

"""Whatever is asked, no answer is a 500, and every answer is as OpenAPI says."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from admin_api.app import ROUTES
from tests.api.operations import DOCUMENT
from tests.api.serving import ADMIN_TOKEN, Api, Message

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
# What there is, so that not only its absence is asked for.
THERE = {"/messages": "m1", "/tenant": "acme", "/account": "main"}


@schemathesis.serializer("message/rfc822")
def mail(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


QUIETLY = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def aim(case: Any, n: int) -> None:
    """Have a request ask for what there is, every other time."""
    if "tenant_id" in (case.query or {}):
        # Most of what is to be seen is behind a tenant that exists.
        case.query["tenant_id"] = "acme"
    there = THERE.get(case.path.partition("/{")[0])
    if there and n % 2 and case.method != "DELETE":
        case.path_parameters = {**(case.path_parameters or {}), "id": there}


def ask_everything(url: str, token: str) -> Counter[tuple[str, str]]:
    """Make requests of every kind to every route; each answer is checked. Return how many."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    asked: Counter[tuple[str, str]] = Counter()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation: Any = result.ok()

        @QUIETLY
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            route = case.method, case.path
            asked[route] += 1
            aim(case, asked[route])
            answer = case.call(base_url=url, headers={"X-API-Token": token}, timeout=20)
            case.validate_response(answer, checks=CHECKS)

        ask()
    return asked


@pytest.mark.parametrize("token", ["admin", "acme"])
async def test_whatever_is_asked_the_answer_is_as_it_is_described(
    api: Api, acme: httpx.AsyncClient, message: Message, token: str
) -> None:
    await acme.post("/commands/add-messages", json={"messages": [message()]})
    secret = ADMIN_TOKEN if token == "admin" else api.keys["acme"]
    asked = await asyncio.to_thread(ask_everything, api.url, secret)
    # Some take no parameter, so there is one way to ask.
    assert set(asked) == {(route.method, route.path) for route in ROUTES}

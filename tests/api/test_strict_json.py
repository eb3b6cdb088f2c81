"""JSON that is refused, as values and over the wire."""

import json

import httpx
import pytest

from admin_api.strict_json import STEP_BYTES, InvalidJson, loads, reading
from relay.formats.headers.slices import at_once
from tests.api.serving import Api

HOSTILE = [
    b"",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a":1,"a":2}',
    b'{"a":{"b":1,"b":1}}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1e999}',
    b'{"a":' + b"9" * 5000 + b"}",
    rb'{"a":"\ud800"}',
    rb'{"a":"\udc00\ud800"}',
    rb'{"\ud800":1}',
    rb'{"a":["\u0000"]}',
    b'{"a":"\x00"}',
    b'{"a":"\xff\xfe"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":1}{"b":2}',
    b"{'a':1}",
    b'{"a":1,}',
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda d: repr(d[:16]))
def test_what_two_readers_would_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidJson):
        loads(data)


@pytest.mark.parametrize(
    "value", [{"a": "\U0001f600 é \\u0000 \\ud800"}, [1, 2.5, None, True, "x"], "text", 2**64]
)
def test_all_other_json_is_read_as_it_is(value: object) -> None:
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


LONG = b" " * STEP_BYTES


def in_steps(data: bytes) -> object:
    return at_once(reading(data, "list"))


@pytest.mark.parametrize("data", HOSTILE, ids=lambda d: repr(d[:16]))
def test_what_is_long_is_refused_for_the_same(data: bytes) -> None:
    text = rb'{"list": [1, %b ], "b": 2}' + LONG
    for hostile in (data + LONG, text % data, text.replace(b"2", b"%b") % (b"3", data)):
        with pytest.raises(InvalidJson):
            in_steps(hostile)


@pytest.mark.parametrize(
    "text",
    [
        '{"list":[1,{"a":[]},"x"]}',
        ' {\n"list" : [ 1 , [2] ] , "b":{"list":1} , "c":[] } ',
        '{"list":[]}',
        f'{{"list":[{",".join("1" * 20_000)}]}}',
        '{"list":1}',
        '{"other":[1],"list":[2]}',
        "[1,2]",
        "{}",
    ],
    ids=lambda text: repr(text[:16]),
)
def test_what_is_long_is_read_as_it_is(text: str) -> None:
    assert in_steps(text.encode() + LONG) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"list":[1],"list":[2]}',
        '{"list":[1],}',
        '{"list":[1,]}',
        '{"list":[1] "b":2}',
        '{"list":[1',
        '{"list":[1]',
        '{"list":[1]}}',
        '{"list":[1],"b":1,"b":2}',
    ],
)
def test_what_is_long_is_no_less_strict(text: str) -> None:
    with pytest.raises(InvalidJson):
        in_steps(text.encode() + LONG)


def test_a_long_list_is_read_in_steps() -> None:
    steps = reading(json.dumps({"list": ["x" * 100_000] * 50}).encode(), "list")
    assert len(list(steps)) > 4


def test_the_place_of_a_bad_text_is_told() -> None:
    with pytest.raises(InvalidJson) as refused:
        loads(rb'{"messages":[{},{"subject":"\ud800"}]}')
    assert refused.value.path == ("messages", 1, "subject")


async def test_hostile_json_is_422_on_every_route(acme: httpx.AsyncClient) -> None:
    for path in ("/commands/add-messages", "/account", "/credential"):
        for data in HOSTILE:
            headers = {"Content-Type": "application/json"}
            answer = await acme.post(path, content=data, headers=headers)
            # The deepest of them is larger than a body may be here.
            assert answer.status_code == (413 if len(data) > 400_000 else 422)
            assert answer.json()["detail"]


async def test_a_body_that_is_too_large_is_413(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/account", content=b'{"a":"' + b"x" * 400_000 + b'"}')
    assert answer.status_code == 413
    assert answer.json()["detail"]


async def test_a_body_of_another_type_is_415(acme: httpx.AsyncClient) -> None:
    for headers in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ):
        answer = await acme.post("/account", content=b"{}", headers=headers)
        assert answer.status_code == 415


async def test_json_needs_no_content_type(api: Api, acme: httpx.AsyncClient) -> None:
    body = b'{"id":"a","host":"h.test","port":25}'
    assert (await acme.post("/account", content=body)).status_code == 200

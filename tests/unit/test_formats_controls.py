"""X-Pillarbox-* fields as values."""

import pytest

from relay.errors import Refused
from relay.formats.headers import Controls, controls, scan
from relay.model import Priority

NOW = 1_763_719_200.0  # 2025-11-21T10:00:00Z


def asked(*lines: str) -> Controls:
    content = "".join(f"X-Pillarbox-{line}\r\n" for line in lines).encode()
    return controls(scan(b"Subject: x\r\n" + content + b"\r\nbody"), NOW)


def test_a_mail_without_controls_asks_nothing() -> None:
    assert asked() == Controls()
    assert asked("Unknown: x") == Controls()


def test_all_controls_are_read() -> None:
    assert asked(
        "Id: order-7",
        "account: main",
        "PRIORITY: High",
        "Batch: spring",
        "Deliver-At: 2025-11-21T12:00:00+01:00",
        "Expires-In: 3600",
        'Metadata: {"order": 7,\r\n "who": "Zo\\u00eb"}',
        "Idempotency-Key: k",
    ) == Controls(
        id="order-7",
        account="main",
        priority=Priority.HIGH,
        batch="spring",
        deliver_at=NOW + 3600,
        expires_in_s=3600.0,
        metadata='{"order":7,"who":"Zoë"}',
        idempotency_key="k",
    )


@pytest.mark.parametrize(
    ("value", "deliver_at"),
    [
        ("1763719200", NOW),
        ("1763719200.5", NOW + 0.5),
        ("2025-11-21T10:00:00Z", NOW),
        ("2025-11-21T10:00:00.5Z", NOW + 0.5),
        ("0", 0.0),
    ],
)
def test_the_time_is_rfc_3339_or_unix(value: str, deliver_at: float) -> None:
    assert asked(f"Deliver-At: {value}").deliver_at == deliver_at


@pytest.mark.parametrize("value", ["0", "immediate", "IMMEDIATE"])
def test_a_priority_is_a_number_or_a_label(value: str) -> None:
    assert asked(f"Priority: {value}").priority is Priority.IMMEDIATE


@pytest.mark.parametrize(
    "line",
    [
        "Id:",
        "Id: " + "x" * 256,
        "Id: a\x7fb",
        "Id: =?utf-8?q?a=0Ab?=",
        "Batch: " + "x" * 65,
        "Priority: 4",
        "Priority: urgent",
        "Deliver-At: tomorrow",
        "Deliver-At: 2025-11-21T10:00:00",
        "Deliver-At: 99999999999",
        "Deliver-At: nan",
        "Expires-In: 0",
        "Expires-In: -1",
        "Expires-In: 1e9",
        "Expires-In: inf",
        "Expires-In: 99999999999",
        "Metadata: 7",
        "Metadata: [1]",
        "Metadata: {",
        'Metadata: {"a": NaN}',
        'Metadata: {"a": 1, "a": 2}',
        'Metadata: {"a": "\\u0000"}',
        'Metadata: {"a": "\\ud800"}',
        'Metadata: {"a": ' + "9" * 5_000 + "}",
        "Metadata: " + '{"a":' * 8_000,
        'Metadata: {"a": "' + "x" * 8_192 + '"}',
    ],
)
def test_a_bad_value_refuses_the_mail_and_names_the_field(line: str) -> None:
    with pytest.raises(Refused) as refused:
        asked(line)
    assert f"X-Pillarbox-{line.partition(':')[0]}" in str(refused.value)
    assert refused.value.enhanced == "5.6.0"


def test_a_control_given_twice_refuses_the_mail() -> None:
    with pytest.raises(Refused, match="more than once"):
        asked("Id: a", "id: b")


def test_the_id_that_another_pillarbox_gave_a_mail_is_no_wish() -> None:
    trace = "Received: from a ([b])\r\n\tby relay.test with SMTP\r\n\tid 0199-ab;\r\n\tMon\r\n"
    for name, wanted in (("0199-ab", None), ("0199-a", "0199-a"), ("order-7", "order-7")):
        content = f"{trace}X-Pillarbox-ID: {name}\r\n\r\nbody".encode()
        assert controls(scan(content), NOW).id == wanted

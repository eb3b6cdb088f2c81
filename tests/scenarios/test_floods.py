"""Floods and misfits at the SMTP door of a real process: bounded memory, and others are served."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.attackers import (
    MEGABYTE,
    Attack,
    crowd,
    endless_command,
    endless_line,
    guesses,
    line_ends,
    many_recipients,
    slow_clients,
)
from tests.scenarios.siege import besieged

# What is received of a mail, with the room that its buffer keeps in advance, a copy with our lines
# in front, and what SQLite has not yet written: the sizes of a mail that one may take.
MAIL_IN_MEMORY = 4
# Passwords that are verified at once: two for those who exist and one for those who do not.
HASHES, HASH_MEGABYTES = 3, 20


async def test_slow_clients_of_every_kind_are_thrown_out(tmp_path: Path) -> None:
    limits = {
        "PILLARBOX_SMTP_IDLE_TIMEOUT_S": "2",
        "PILLARBOX_SMTP_SESSION_TIMEOUT_S": "4",
        "PILLARBOX_SMTP_MIN_RATE_GRACE_S": "1",
    }
    async with besieged(tmp_path, limits) as siege, asyncio.timeout(20):
        toll = await slow_clients(siege.victim, pause_s=0.5)
    assert toll.ends == {"421 4.7.0 That took too long": 8}


async def test_300_idle_connections_of_one_address_take_its_ten_places(tmp_path: Path) -> None:
    async with besieged(tmp_path) as siege, crowd(siege.victim, 300) as toll:
        assert toll.ends == {"220": 10, "421": 290}
        async with crowd(siege.victim, 1) as more:
            assert more.ends == {"421": 1}


@pytest.mark.parametrize("attack", [endless_command, endless_line])
async def test_200_mb_without_a_line_end_are_cut_short(tmp_path: Path, attack: Attack) -> None:
    limits = {"PILLARBOX_MAX_MESSAGE_BYTES": str(4 * MEGABYTE)}
    budget_bytes = (20 + 4 * MAIL_IN_MEMORY) * MEGABYTE
    async with besieged(tmp_path, limits, budget_bytes) as siege:
        toll = await attack(siege.victim)
        # "" where the kernel drops the reply, because the client had more to say.
        assert toll.codes() <= {"421 4.7.0", ""}
        assert toll.sent_bytes < 30 * MEGABYTE


async def test_31_mib_of_line_ends_are_a_mail_like_any_other(tmp_path: Path) -> None:
    limits = {"PILLARBOX_MAX_MESSAGE_BYTES": str(32 * 1024 * 1024)}
    budget_bytes = (20 + 32 * MAIL_IN_MEMORY) * MEGABYTE
    async with besieged(tmp_path, limits, budget_bytes) as siege:
        toll = await line_ends(siege.victim)
        assert toll.codes() == {"250 2.0.0"}


async def test_20_000_recipients_are_answered_until_it_is_enough(tmp_path: Path) -> None:
    async with besieged(tmp_path) as siege:
        toll = await many_recipients(siege.victim)
    assert toll.ends["250 2.1.5 Ok"] == 100
    assert toll.ends["421 4.7.0 Too many commands"] == 1
    assert toll.codes() == {"250 2.1.5", "452 4.5.3", "421 4.7.0"}


async def test_guessed_passwords_do_not_lock_out_who_knows_it(tmp_path: Path) -> None:
    budget_bytes = (20 + HASHES * HASH_MEGABYTES) * MEGABYTE
    async with besieged(tmp_path, budget_bytes=budget_bytes) as siege:
        toll = await guesses(siege.victim, clients=30, lasting_s=3)
    assert toll.codes() <= {"535 5.7.8", "421 4.7.0"}
    assert toll.ends["535 5.7.8 Authentication credentials invalid"] > 0

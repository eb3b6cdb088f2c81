"""What the benchmarks make of their runs: figures, schedules, the page, the sink's dialogue."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from bench.distance import permitted_s
from bench.figures import percentile_ms, shown, verdict
from bench.page import page
from bench.report import Measured, Report, read, write
from bench.results import (
    Check,
    Finding,
    Goal,
    Head,
    Row,
    brief,
    from_json,
    gathered,
    ratios,
    to_json,
)
from bench.schedule import arrivals, highest_rate
from bench.sections import SECTIONS, Section
from bench.taker import Taker
from tests.faults.filling import Filling, copy_of

ROOT = Path(__file__).parents[2]
FOUND: list[Finding] = [
    Head(("mail", "delivered/s")),
    Row(("4 KB", [900.0, 1100.0, 1000.0])),
    Head(("store", "ms")),
    Row(("SQLite", [0.25])),
    Check("4 KB: delivered/s", [1.9, 2.1, 2.2], Goal(2.0, "x Postfix's")),
    Check("4 KB: CPU", [0.4], Goal(0.35, "x Postfix's", at_least=False)),
]


def a_report() -> Report:
    sections = {"idle": Measured("2026-11-23", True, gathered(FOUND))}
    return Report({"CPU": "2 x a model"}, sections)


def test_the_median_stands_first_and_then_the_least_and_the_most() -> None:
    assert shown([3.0, 1.0, 2.0]) == "2.00 (1.00-3.00)"
    assert shown([12.34]) == "12.3"
    assert shown([1234.5, 2000.0]) == "1,617 (1,234-2,000)"


def test_a_percentile_is_a_value_that_was_measured() -> None:
    waits_s = [number / 1000 for number in range(1, 101)]
    assert percentile_ms(waits_s, 0.5) == 51
    assert percentile_ms(waits_s, 0.99) == 100
    assert percentile_ms([0.002], 0.99) == 2


def test_a_ratio_is_taken_between_neighbours() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("values", "at_least", "reached"),
    [([2.0], True, True), ([1.9], True, False), ([2.0], False, True), ([2.1], False, False)],
)
def test_the_bound_itself_is_good_enough(
    values: list[float], at_least: bool, reached: bool
) -> None:
    assert Goal(2.0, "x", at_least=at_least).is_reached(values) is reached


def test_the_median_of_the_runs_decides_on_a_goal() -> None:
    check = Check("delivered", [1.0, 2.5, 3.0], Goal(2.0, "x"))
    assert verdict(check) == "| delivered | at least 2 x | 2.50 (1.00-3.00) x | yes |"


def test_an_open_loop_calls_at_its_rate_whatever_the_seed() -> None:
    for seed in range(5):
        times = arrivals(1000, 10, seed)
        assert len(times) == pytest.approx(10_000, rel=0.05)
        assert times == sorted(times)
        assert 0 < times[0] < times[-1] < 10


def test_the_same_seed_gives_the_same_times() -> None:
    assert arrivals(100, 1, 7) == arrivals(100, 1, 7) != arrivals(100, 1, 8)


def test_the_calls_of_an_open_loop_come_in_bunches_as_those_of_strangers_do() -> None:
    times = arrivals(1000, 10, 1)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert sum(gap < 0.0005 for gap in gaps) / len(gaps) == pytest.approx(0.39, abs=0.02)


@pytest.mark.parametrize("limit", [300, 555, 999, 1240])
def test_the_highest_rate_is_found_from_below(limit: float) -> None:
    found = highest_rate(1000, lambda rate: rate <= limit)
    assert limit * 0.93 <= found <= limit


def test_no_rate_is_good_where_the_lowest_is_not() -> None:
    assert highest_rate(1000, lambda _rate: False) == 0


def test_rates_beyond_what_a_closed_loop_reached_are_hardly_tried() -> None:
    assert highest_rate(1000, lambda _rate: True) <= 1600


def test_the_distance_permits_a_mail_for_each_connection_and_its_round_trips() -> None:
    assert permitted_s(connections=20, round_trips=2, round_trip_s=0.05) == 200


def test_a_copied_mail_differs_in_its_names_and_when_it_is_due_only() -> None:
    columns = ["message_pk", "n", "state", "due_at", "lane"]
    sql = copy_of("recipients", columns, Filling().changes("recipients"))
    assert "(message_pk, n, state, due_at, lane)" in sql
    assert "2), n, 'queued', due_at - 1000000000.0, lane FROM series, recipients" in sql


def test_results_survive_being_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "performance.json"
    write(path, a_report())
    assert page(read(path)) == page(a_report())
    assert to_json(from_json(to_json(gathered(FOUND)))) == to_json(gathered(FOUND))


def test_a_report_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "performance.json") == Report({})


def test_values_are_kept_with_four_digits() -> None:
    assert brief([1234.567, 0.00123456]) == [1235.0, 0.001235]
    assert brief("4 KB") == "4 KB"


def test_the_page_has_the_machine_the_figures_and_what_was_wanted_of_them() -> None:
    text = page(a_report())
    assert "| CPU | 2 x a model |" in text
    assert "| goals reached | 1 of 2 |" in text
    assert "| mail | delivered/s |\n| --- | --- |\n| 4 KB | 1,000 (900-1,100) |" in text
    wanted = "| 4 KB: delivered/s | at least 2 x Postfix's | 2.10 (1.90-2.20) x Postfix's | yes |"
    assert wanted in text
    assert "| 4 KB: CPU | at most 0.35 x Postfix's | 0.40 x Postfix's | **no** |" in text
    assert "short, to see that everything runs" in text


def test_the_page_leaves_out_what_was_not_measured() -> None:
    titles = [line for line in page(a_report()).splitlines() if line.startswith("## ")]
    assert titles == ["## Nothing to do"]


def test_the_published_page_is_what_its_data_makes() -> None:
    report = read(ROOT / "docs/performance.json")
    assert (ROOT / "docs/performance.md").read_text() == page(report)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_a_section_names_options_that_its_command_has(section: Section) -> None:
    for is_quick in (False, True):
        section.bench.options(section.words(is_quick=is_quick))


def test_sections_have_names_of_their_own() -> None:
    names = [section.name for section in SECTIONS]
    assert len(set(names)) == len(names)


async def test_our_sink_takes_mail_whose_commands_and_bytes_come_in_any_pieces() -> None:
    mails: list[bytes] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: Taker(mails.append), "127.0.0.1", 0
    )
    dialogue = (
        b"EHLO a\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n"
        b"Subject: x\r\n\r\n..\r\n.x\r\n.\r\n"
        b"MAIL FROM:<c@c.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n.\r\nQUIT\r\n"
    )
    for size in (1, 3, len(dialogue)):
        mails.clear()
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for at in range(0, len(dialogue), size):
            writer.write(dialogue[at : at + size])
            await asyncio.sleep(0)
        replies = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert mails == [b"MAIL FROM:<a@a.test>", b"MAIL FROM:<c@c.test>"]
        codes = [line[:3] for line in replies.splitlines() if line[3:4] == b" "]
        assert codes == b"220 250 250 250 354 250 250 250 354 250 221".split()
    server.close()

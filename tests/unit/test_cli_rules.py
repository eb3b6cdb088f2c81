"""What the command line decides without asking anybody: times, envelopes, mailboxes, its log."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.envelope import MOST_QUERY_CHARS, Envelope, envelope_of, id_of, portions
from cli.instance_facts import counted
from cli.log_file import KEPT_FILES
from cli.mail_files import mail_files
from cli.output import from_now, plain, span
from cli.shown_settings import without_login
from cli.times import moment
from relay.errors import Refused

MAIL = b"From: App <a@acme.example>\nTo: b@x.example, C <c@x.example>\nBcc: d@x.example\n\nx\n"


@pytest.mark.parametrize(
    ("text", "is_past", "expected"),
    [
        ("1777622400", False, 1777622400.0),
        ("2h", False, 1007200.0),
        ("2h", True, 992800.0),
        ("-90s", False, 999910.0),
        ("+1d", True, 1086400.0),
        ("1970-01-12T13:46:40+00:00", False, 1000000.0),
        ("soon", False, None),
        ("2y", False, None),
    ],
)
def test_times_are_read_as_people_give_them(
    text: str, is_past: bool, expected: float | None
) -> None:
    assert moment(text, 1_000_000.0, is_past=is_past) == expected


def test_the_envelope_is_of_the_header_where_it_is_not_given() -> None:
    envelope = envelope_of(MAIL, None, ())
    assert envelope.sender == "a@acme.example"
    assert envelope.recipients == ("b@x.example", "c@x.example", "d@x.example")
    given = envelope_of(MAIL, "<>", ("e@x.example", "e@x.example"))
    assert (given.sender, given.recipients) == ("<>", ("e@x.example",))
    with pytest.raises(Refused, match="no From"):
        envelope_of(b"To: a@b.example\n\n", None, ())
    with pytest.raises(Refused, match="no To"):
        envelope_of(b"From: a@b.example\n\n", None, ())


def test_the_id_follows_from_content_and_envelope_and_not_from_line_ends() -> None:
    envelope = Envelope("a@b.example", ("c@d.example", "e@f.example"))
    other_order = Envelope("a@b.example", ("e@f.example", "c@d.example"))
    mail_id = id_of(MAIL, envelope)
    assert mail_id == id_of(MAIL.replace(b"\n", b"\r\n"), other_order)
    assert mail_id != id_of(MAIL, Envelope("x@b.example", envelope.recipients))
    assert mail_id != id_of(MAIL + b"y", envelope)


def test_each_portion_of_an_envelope_fits_a_request() -> None:
    recipients = tuple(f"{'x' * 60}{n}@there.example" for n in range(300))
    cut = list(portions(Envelope("a@b.example", recipients)))
    assert tuple(address for each in cut for address in each.recipients) == recipients
    sizes = [sum(3 * len(address) for address in each.recipients) for each in cut]
    assert max(sizes) <= MOST_QUERY_CHARS


def test_an_mbox_is_read_as_its_lines_say(tmp_path: Path) -> None:
    line = b"From a@b.example Thu Jan  1 00:00:00 1970\n"
    first, second = b"Subject: 1\n\nFrom here on\n", b"Subject: 2\n\n\nFrom\n>From x\n"
    box = tmp_path / "box"
    box.write_bytes(line + first + b"\n" + line + second + b"\n")
    assert [mail.load() for mail in mail_files([str(box)])] == [first, second]


def test_lengths_of_time_are_short_words() -> None:
    assert [span(s) for s in (0.012, 1, 119, 120, 7200, 172_800)] == [
        "12 ms", "1 s", "119 s", "2 min", "2 h", "2 d",
    ]  # fmt: skip
    assert (from_now(150.0, 100.0), from_now(50.0, 100.0)) == ("in 50 s", "50 s ago")


def test_what_would_drive_a_terminal_is_not_shown() -> None:
    assert plain("\x1b[31mred\r\nnext\u202e") == " [31mred  next "


def test_counters_are_added_up_by_tenant() -> None:
    metrics = (
        'pillarbox_recipients_sent_total{account="a",tenant="acme"} 3.0\n'
        'pillarbox_recipients_sent_total{account="b",tenant="acme"} 1e+02\n'
        'pillarbox_recipients_sent_created{account="b",tenant="acme"} 1.7e+09\n'
        'pillarbox_queue_recipients{priority="high",state="queued"} 1.0\n'
    )
    assert counted(metrics) == {"acme": {"sent": 103}}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:/var/a@b/x.db", "sqlite:/var/a@b/x.db"),
        ("postgresql://u:p@db/x", "postgresql://…@db/x"),
        ("postgresql://u:p/w@d@db/x?password=z", "postgresql://…@db/x?…"),
        ("postgresql://db/x", "postgresql://db/x"),
    ],
)
def test_the_login_of_a_database_is_not_shown(url: str, shown: str) -> None:
    assert without_login(url) == shown


def test_a_log_that_has_grown_is_rotated_with_all_that_a_process_says(tmp_path: Path) -> None:
    log = tmp_path / "pillarbox.log"
    program = (
        "import sys\nfrom pathlib import Path\nfrom cli.log_file import LogFile\n"
        f"log = LogFile(Path({str(log)!r}), most_bytes=20_000)\n"
        "for n in range(5000):\n    log.write(f'line {n} ' + 'x' * 20 + chr(10))\n    log.flush()\n"
        "print('said by a library', file=sys.stderr)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    files = sorted(tmp_path.glob("pillarbox.log*"))
    assert len(files) == KEPT_FILES + 1
    assert all(file.stat().st_size < 30_000 for file in files)
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    text = log.read_text()
    assert text.endswith("said by a library\n")
    assert "line 4999" in text
    assert "line 4999" not in (tmp_path / "pillarbox.log.1").read_text()

"""What callers of sendmail(8) write on its command line, and what it means."""

import os

import pytest

from cli.sendmail.ending import Ended
from cli.sendmail.options import Mode, Options, read


def options(*words: str, program: str = "/usr/sbin/sendmail") -> Options:
    return read([program, *words])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # As these callers were seen to do it.
        (("-t", "-i"), Options(reads_recipients=True, dot_ends=False)),  # PHP mail()
        (
            ("-oi", "-fapp@acme.test", "-t"),  # PHPMailer
            Options(sender="app@acme.test", reads_recipients=True, dot_ends=False),
        ),
        (("-i", "--", "bob"), Options(recipients=("bob",), dot_ends=False)),  # s-nail
        (
            ("-i", "-f", "a@acme.test", "bob", "eve"),  # Nodemailer
            Options(sender="a@acme.test", recipients=("bob", "eve"), dot_ends=False),
        ),
        (
            ("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"),  # cron
            Options(full_name="CronDaemon", recipients=("root",), dot_ends=False),
        ),
        (
            ("-oem", "-oi", "-f", "a@acme.test", "--", "bob"),  # mutt
            Options(sender="a@acme.test", recipients=("bob",), dot_ends=False),
        ),
        (("-ti",), Options(reads_recipients=True, dot_ends=False)),
        (("-it", "-r", "me"), Options(reads_recipients=True, dot_ends=False, sender="me")),
        (("bob", "-i"), Options(recipients=("bob",), dot_ends=False)),
        (("--", "-i"), Options(recipients=("-i",))),
        (("-f", "<>", "bob"), Options(sender="", recipients=("bob",))),
        (("-f", "", "bob"), Options(sender="", recipients=("bob",))),
        (("-O", "DeliveryMode=b", "-odb", "-m", "-v", "-U", "bob"), Options(recipients=("bob",))),
        (
            ("-N", "success,delay", "-Rhdrs", "-V", "an-id", "bob"),
            Options(recipients=("bob",), notify="SUCCESS,DELAY", ret="HDRS", envid="an-id"),
        ),
        (("-bm", "bob"), Options(recipients=("bob",))),
        (("-bs",), Options(mode=Mode.DIALOGUE)),
        (("-bp",), Options(mode=Mode.QUEUE)),
        (("-q30m",), Options(mode=Mode.NOTHING)),
        (("-bi",), Options(mode=Mode.NOTHING)),
    ],
)
def test_the_ways_of_callers_are_understood(words: tuple[str, ...], expected: Options) -> None:
    assert options(*words) == expected


def test_the_name_it_is_called_by_says_what_to_do() -> None:
    assert options(program="/usr/bin/mailq").mode is Mode.QUEUE
    assert options(program="newaliases").mode is Mode.NOTHING


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("-bd",), "-bd"),
        (("-bv", "bob"), "-bv"),
        (("-z", "bob"), "-z"),
        (("-tiz",), "-z"),
        (("-f",), "-f"),
        (("-N", "sometimes"), "sometimes"),
        (("-N", "never,delay"), "never,delay"),
        (("-R", "half"), "half"),
    ],
)
def test_what_cannot_be_done_is_named(words: tuple[str, ...], named: str) -> None:
    with pytest.raises(Ended, match=named) as raised:
        options(*words)
    assert raised.value.code == os.EX_USAGE

"""`pillarbox parse-bounce` as scripts and people use it."""

import json
import subprocess
from pathlib import Path

from tests.process import RUN

BOUNCES = Path(__file__).parents[1] / "data" / "bounces"
HARD = BOUNCES / "lhost-sendmail-01.eml"
COMPLAINT = BOUNCES / "arf-14.eml"
COMMAND = [*RUN[:-1], "parse-bounce"]


def run(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    shown = subprocess.run([*COMMAND, *arguments], input=given, capture_output=True, check=False)
    return subprocess.CompletedProcess(
        shown.args, shown.returncode, shown.stdout.decode(), shown.stderr.decode()
    )


def test_json_is_one_object_a_file_with_the_keys_of_the_contract() -> None:
    shown = run(str(HARD), str(COMPLAINT), "--json")
    assert shown.returncode == 0, shown.stderr
    hard, complaint = (json.loads(line) for line in shown.stdout.splitlines())
    assert hard == {
        "file": str(HARD),
        "kind": "hard",
        "reason": "userunknown",
        "recipients": [
            {
                "address": "userunknown@bouncehammer.jp",
                "action": "failed",
                "status": "5.1.1",
                "reply_code": 550,
                "kind": "hard",
                "reason": "userunknown",
                "diagnostic": "550 5.1.1 <userunknown@bouncehammer.jp>... User Unknown",
            }
        ],
    }
    assert complaint == {
        "file": str(COMPLAINT),
        "kind": "none",
        "reason": "feedback",
        "recipients": [],
    }


def test_people_get_a_table() -> None:
    shown = run(str(HARD), str(COMPLAINT))
    assert shown.returncode == 0, shown.stderr
    for word in ("userunknown@bouncehammer.jp", "hard", "5.1.1", "550", "complaint of kijitora@"):
        assert word in shown.stdout


def test_a_dash_is_standard_input() -> None:
    shown = run("-", "--json", given=HARD.read_bytes())
    assert json.loads(shown.stdout)["file"] == "-"
    assert json.loads(shown.stdout)["kind"] == "hard"


def test_a_missing_file_is_told_and_the_others_are_shown() -> None:
    shown = run("no-such-file.eml", str(HARD), "--json")
    assert shown.returncode == 1
    assert shown.stderr == "pillarbox: no-such-file.eml: No such file or directory\n"
    assert json.loads(shown.stdout)["kind"] == "hard"


def test_garbage_is_no_bounce_and_no_error() -> None:
    shown = run("-", "--json", given=b"\xff\x00" * 500)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["kind"] == "none"

"""The snippets of the documentation take what Pillarbox signs, and nothing else."""

import importlib.util
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from relay.reports.post import signature

SNIPPETS = Path(__file__).parents[2] / "docs" / "snippets"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "b3RoZXItb3RoZXItb3RoZXItb3RoZXIt"
BODY = b'{"delivery_report":[{"id":"order-1","sent_ts":1}]}'

Verify = Callable[[Mapping[str, str], bytes, str], bool]


def by_python(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    spec = importlib.util.spec_from_file_location("verify", SNIPPETS / "verify.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    verdict: bool = module.verify(headers, body, secret)
    return verdict


NODE = """
const [path, headers, secret] = process.argv.slice(1);
const body = require("node:fs").readFileSync(0);
console.log(require(path).verify(JSON.parse(headers), body, secret));
"""
PHP = """
require $argv[1];
$verdict = verify(json_decode($argv[2], true), file_get_contents('php://stdin'), $argv[3]);
echo $verdict ? 'true' : 'false';
"""
GO = """package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"snippets/reports"
)

func main() {
	given := map[string]string{}
	if err := json.Unmarshal([]byte(os.Args[2]), &given); err != nil {
		panic(err)
	}
	header := http.Header{}
	for name, value := range given {
		header.Set(name, value)
	}
	body, _ := io.ReadAll(os.Stdin)
	fmt.Println(reports.Verify(header, body, os.Args[3]))
}
"""


def by_program(*command: str) -> Verify:
    def verify(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
        words = [*command, json.dumps(headers), secret]
        done = subprocess.run(words, input=body, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return {b"true": True, b"false": False}[done.stdout.strip()]

    return verify


def go_program(folder: Path) -> Path:
    (folder / "reports").mkdir()
    shutil.copy(SNIPPETS / "verify.go", folder / "reports")
    (folder / "main.go").write_text(GO)
    (folder / "go.mod").write_text("module snippets\n\ngo 1.19\n")
    done = subprocess.run(["go", "build", "-o", "told", "."], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return folder / "told"


@pytest.fixture(
    params=[
        pytest.param("python"),
        pytest.param("node", marks=pytest.mark.peers("node")),
        pytest.param("php", marks=pytest.mark.peers("php")),
        pytest.param("go", marks=pytest.mark.peers("go")),
    ]
)
def verify(request: pytest.FixtureRequest, tmp_path: Path) -> Verify:
    match request.param:
        case "node":
            return by_program("node", "-e", NODE, str(SNIPPETS / "verify.js"))
        case "php":
            return by_program("php", "-r", PHP, "--", str(SNIPPETS / "verify.php"))
        case "go":
            return by_program(str(go_program(tmp_path)), "-")
        case _:
            return by_python


def signed(secrets: str, body: bytes = BODY, *, at: float | None = None) -> dict[str, str]:
    found = signature(secrets, body, "rep_1", time.time() if at is None else at)
    return {name.decode(): value.decode() for name, value in found}


def test_a_snippet_takes_what_we_sign_and_nothing_else(verify: Verify) -> None:
    now = time.time()
    assert verify(signed(SECRET), BODY, SECRET)
    assert verify(signed(f"{OTHER} {SECRET}"), BODY, SECRET)
    assert verify(signed(SECRET), BODY, SECRET.removeprefix("whsec_"))
    assert not verify(signed(OTHER), BODY, SECRET)
    assert not verify(signed(SECRET), BODY + b" ", SECRET)
    assert not verify(signed(SECRET) | {"webhook-id": "rep_2"}, BODY, SECRET)
    assert not verify(signed(SECRET, at=now - 400), BODY, SECRET)
    assert not verify(signed(SECRET, at=now + 400), BODY, SECRET)
    assert not verify({}, BODY, SECRET)

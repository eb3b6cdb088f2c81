"""The files for deployment, as the programs that read them see them."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from relay.metrics import Metrics
from relay.model import Ingress

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
MOST_EXPOSED = 2.0


def run(*command: str | Path, given: bytes = b"") -> str:
    done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=110)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@pytest.mark.peers("hadolint")
def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    assert run("hadolint", ROOT / "Dockerfile") == ""


@pytest.mark.peers("kubernetes-validate")
@pytest.mark.parametrize("path", sorted((CONF / "kubernetes").glob("*.yaml")), ids=lambda p: p.name)
def test_kubernetes_knows_every_field(path: Path) -> None:
    run("kubernetes-validate", "--strict", path)


@pytest.mark.peers("systemd-analyze")
def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    text = (CONF / "systemd/pillarbox@.service").read_text()
    # It looks whether the program is there.
    unit = tmp_path / "pillarbox@.service"
    unit.write_text(text.replace("/opt/pillarbox/bin/pillarbox", "/bin/true"))
    assert run("systemd-analyze", "verify", unit) == ""


@pytest.mark.peers("systemd-analyze")
def test_the_unit_has_few_rights() -> None:
    unit = CONF / "systemd/pillarbox@.service"
    said = run("systemd-analyze", "security", "--offline=true", unit)
    level = said.rpartition("exposure level")[2].split(": ")[1].split()[0]
    assert float(level) <= MOST_EXPOSED


@pytest.mark.peers("promtool")
def test_promtool_takes_the_rules_and_the_configuration() -> None:
    run("promtool", "check", "rules", CONF / "prometheus/alerts.yml")
    run("promtool", "check", "config", CONF / "prometheus/prometheus.yml")


@pytest.mark.peers("promtool")
def test_promtool_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    dashboard = json.loads((CONF / "grafana/pillarbox.json").read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", ())]
    plain = [query.replace("$__rate_interval", "5m").replace("$tenant", ".*") for query in queries]
    rules = [{"record": f"q{n}", "expr": query} for n, query in enumerate(plain)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run("promtool", "check", "rules", file)


@pytest.mark.peers("promtool")
def test_promtool_has_nothing_to_say_of_the_metrics() -> None:
    metrics = Metrics(genro=True)
    metrics.accepted("acme", Ingress.SMTP, 0.01)
    metrics.sent("acme", "main", latency_s=0.2)
    metrics.set_connections("acme", "main", idle=1, busy=1)
    assert run("promtool", "check", "metrics", given=metrics.render()[0]) == ""


@pytest.mark.peers("promtool")
def test_alerts_fire_when_they_should_and_not_before() -> None:
    run("promtool", "test", "rules", ROOT / "tests/peers/alerts.yml")

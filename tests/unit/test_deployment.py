"""The files for deployment name settings, metrics, pages and each other as they are."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.config import Config
from relay.metrics import Metrics

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
MANIFESTS = sorted((CONF / "kubernetes").glob("*.yaml"))
METRIC = re.compile(r"\b(?:pillarbox|process|gmp)_[a-z_]+")
QUOTED = re.compile(r'"[^"]*"')
KEY = "a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE="
ARCHITECTURES = ("x86_64", "aarch64")


def series() -> set[str]:
    """Return every name that a query can use."""
    found = set()
    for metric in Metrics().describe():
        endings = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        found |= {metric.name + ending for ending in endings}
    return found


def labels() -> set[str]:
    return {"instance", "job", "le"} | {n for m in Metrics().describe() for n in m.labels}


def queries_of_the_dashboard() -> Iterator[tuple[str, str]]:
    dashboard = json.loads((CONF / "grafana" / "pillarbox.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def alerts() -> list[Mapping[str, Any]]:
    groups = yaml.safe_load((CONF / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


QUERIES = [
    *queries_of_the_dashboard(),
    *((rule["alert"], rule["expr"]) for rule in alerts()),
]


@pytest.mark.parametrize(("place", "query"), QUERIES, ids=[place for place, _ in QUERIES])
def test_every_query_names_metrics_that_exist(place: str, query: str) -> None:
    named = set(METRIC.findall(QUOTED.sub("", query)))
    assert named <= series()
    assert named or "up{" in query


@pytest.mark.parametrize(("place", "query"), QUERIES, ids=[place for place, _ in QUERIES])
def test_every_query_names_labels_that_exist(place: str, query: str) -> None:
    asked = re.findall(r"(\w+)\s*=~?\s*\"", query)
    grouped = re.findall(r"by \(([^)]*)\)", query)
    named = {*asked, *(name.strip() for names in grouped for name in names.split(","))}
    assert named <= labels()


def test_the_queue_is_never_summed_over_nodes_that_each_tell_all_of_it() -> None:
    for _, query in QUERIES:
        for name in ("pillarbox_queue_recipients", "pillarbox_queue_oldest", "callback_backlog"):
            for before in re.findall(rf"(\w+)(?: by \([^)]*\))? ?\((?:pillarbox_)?{name}", query):
                assert before in ("max", "deriv")


@pytest.mark.parametrize("rule", alerts(), ids=[rule["alert"] for rule in alerts()])
def test_every_alert_has_a_runbook(rule: Mapping[str, Any]) -> None:
    page, _, heading = rule["annotations"]["runbook_url"].partition("/#")
    text = (ROOT / "docs" / f"{page}.md").read_text()
    assert heading == rule["alert"].lower()
    assert f"## {rule['alert']}\n" in text
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_runbook_has_an_alert() -> None:
    text = (ROOT / "docs/operating/alerts.md").read_text()
    assert re.findall(r"(?m)^## (\w+)$", text) == [rule["alert"] for rule in alerts()]


def containers(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    pod = document["spec"].get("template", {}).get("spec", {})
    yield from pod.get("initContainers", ())
    yield from pod.get("containers", ())


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    """Give what each way of deployment sets, over what the image sets."""
    image = dict(re.findall(r"(PILLARBOX_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    image = {name: value for name, value in image.items() if not name.endswith(("CERT", "KEY"))}
    yield "Dockerfile", image
    compose = yaml.safe_load((CONF / "compose.yaml").read_text())
    yield "compose.yaml", image | compose["services"]["relay"]["environment"]
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            for container in containers(document):
                if container["name"] == "pillarbox":
                    given = {each["name"]: each["value"] for each in container.get("env", ())}
                    yield path.name, image | given


ENVIRONMENTS = list(environments())


@pytest.mark.parametrize(("name", "given"), ENVIRONMENTS, ids=[name for name, _ in ENVIRONMENTS])
def test_the_settings_of_a_deployment_are_valid(
    name: str, given: dict[str, str], tmp_path: Path
) -> None:
    """Loaded as a node loads them; a file that they name is put where this test can write."""
    contents = {
        "PILLARBOX_DB_FILE": "postgresql://pillarbox:x@database/pillarbox",
        "PILLARBOX_ENCRYPTION_KEY_FILE": KEY,
        "PILLARBOX_API_TOKEN_FILE": "an-admin-token-of-the-tests",
        "PILLARBOX_TLS_CERT": "certificate",
        "PILLARBOX_TLS_KEY": "key",
    }
    environ = dict(given)
    for variable in contents.keys() & given.keys():
        path = tmp_path / variable
        path.write_text(contents[variable])
        environ[variable] = str(path)
    assert {v for v in environ if v.endswith("_FILE")} <= contents.keys()
    config = Config.load(home=tmp_path, name="default", environ=environ, run_secrets=tmp_path)
    assert config.http.listen.host == "0.0.0.0"


def test_compose_names_files_and_secrets_that_are_there_or_made() -> None:
    text = (CONF / "compose.yaml").read_text()
    compose = yaml.safe_load(text)
    for service in compose["services"].values():
        assert set(service.get("secrets", ())) <= compose["secrets"].keys()
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (CONF / source).exists()
    made = set(re.findall(r"> (\w+)$", text, re.MULTILINE))
    assert made == compose["secrets"].keys()


def test_every_container_of_ours_runs_without_rights() -> None:
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            for container in containers(document):
                if container["name"] == "pillarbox":
                    rights = container["securityContext"]
                    assert rights["readOnlyRootFilesystem"]
                    assert not rights["allowPrivilegeEscalation"]
                    assert rights["capabilities"] == {"drop": ["ALL"]}
                    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
                    assert container["startupProbe"]["httpGet"]["path"] == "/ready"


def test_all_that_the_image_needs_comes_as_wheels_for_both_architectures() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    packages = {package["name"]: package for package in lock["package"]}
    needed, found = ["pillarbox"], set()
    while needed:
        name = needed.pop()
        if name not in found:
            found.add(name)
            needed += [each["name"] for each in packages[name].get("dependencies", ())]
    extras = packages["pillarbox"].get("optional-dependencies", {}).get("storage", ())
    found |= {each["name"] for each in extras}
    for name in found - {"pillarbox"}:
        wheels = [wheel["url"] for wheel in packages[name].get("wheels", ())]
        for architecture in ARCHITECTURES:
            fits = [w for w in wheels if w.endswith("-any.whl") or is_linux(w, architecture)]
            assert fits or name in NOT_ON_LINUX, f"{name} on {architecture}"


NOT_ON_LINUX = {"colorama", "pywin32"}


def is_linux(url: str, architecture: str) -> bool:
    return "manylinux" in url and architecture in url and ("cp311" in url or "abi3" in url)

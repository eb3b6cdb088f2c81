"""conf/pillarbox.toml names every setting, with its default and its explanation, and no other."""

import re
from pathlib import Path

import pytest

from relay.config import SETTINGS, Config, Setting

SAMPLE = Path(__file__).parents[2] / "conf" / "pillarbox.toml"
SETTING_LINE = re.compile(r"#(\w+) = .+")


def explanations() -> dict[str, str]:
    """Map each key of the sample to the comment above it."""
    found: dict[str, str] = {}
    section = above = ""
    for line in SAMPLE.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        elif match := SETTING_LINE.fullmatch(line):
            found[section + match[1]] = above.removeprefix("# ")
        above = line
    return found


def test_the_sample_names_exactly_the_known_keys_in_their_order() -> None:
    assert list(explanations()) == [setting.toml_key for setting in SETTINGS]


@pytest.mark.parametrize("setting", SETTINGS, ids=[setting.toml_key for setting in SETTINGS])
def test_the_sample_explains_each_key_as_the_code_does(setting: Setting) -> None:
    key, names, doc = setting.toml_key, setting.env_names, setting.doc
    assert doc
    ruled = "PILLARBOX_" + key.upper().replace(".", "_")
    assert explanations()[key] == (doc if names[0] == ruled else f"{doc} [{names[0]}]")


def test_uncommenting_the_whole_sample_changes_nothing(tmp_path: Path) -> None:
    plain = Config.load(home=tmp_path, name="one", environ={}, run_secrets=tmp_path)
    (tmp_path / "one").mkdir()
    text = re.sub(r"(?m)^#(?=\w+ = )", "", SAMPLE.read_text())
    (tmp_path / "one" / "pillarbox.toml").write_text(text)
    full = Config.load(home=tmp_path, name="one", environ={}, run_secrets=tmp_path)
    assert full.model_dump(exclude={"origins"}) == plain.model_dump(exclude={"origins"})
    assert full.origins["smtp.listen"] != "default"


def test_the_sample_as_it_is_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "pillarbox.toml").write_text(SAMPLE.read_text())
    config = Config.load(home=tmp_path, name="one", environ={}, run_secrets=tmp_path)
    assert set(config.origins.values()) == {"default"}

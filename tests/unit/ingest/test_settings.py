"""Settings: the file that lists them is true, and a bad value says what to do."""

import re
from pathlib import Path

import pytest

from ingest.settings import BadSetting, Settings, load_settings

EXAMPLE = Path(__file__).parents[3] / "env.example"


def _listed() -> dict[str, str]:
    lines = EXAMPLE.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_env_example_lists_every_setting_with_its_default() -> None:
    settings = Settings()
    defaults = {name.upper(): str(getattr(settings, name)) for name in Settings.model_fields}
    assert _listed() == defaults


def test_the_values_of_env_example_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _listed().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == Settings()


def test_a_dotenv_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("COMMANDS_TOPIC=from-file\nEVENTS_TOPIC=from-file\nOTHER=1\n")
    monkeypatch.setenv("EVENTS_TOPIC", "from-environment")
    settings = load_settings()
    assert settings.commands_topic == "from-file"
    assert settings.events_topic == "from-environment"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TEMPORAL_PORT", "70000", "less than or equal to 65535"),
        ("TEMPORAL_PORT", "x", "valid integer"),
        ("DB_URL", "mysql://x", "must begin with postgresql://"),
        ("COMMANDS_TOPIC", "a b", "letters, digits"),
        ("REVIEW_POLICY", "never", "'auto', 'manual' or 'above'"),
        ("MAX_ORDERS_IN_MOTION", "0", "greater than or equal to 1"),
        ("PAYMENTS_URL", "localhost:1", "must be an address like"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_with_name_and_value(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting) as error:
        load_settings()
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{name}={value}: ")
    assert says in text

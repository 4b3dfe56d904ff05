import pytest

from deep_agent.errors import InvalidInput
from deep_agent.settings import Settings, is_loopback, load


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("DEEP_AGENT_"):
            monkeypatch.delenv(name)


def test_defaults_bind_loopback_and_keep_everything_in_one_folder() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.home.name) == ("127.0.0.1", 8421, ".deep_agent")
    assert settings.home_path.is_absolute()
    settings.check_bind()


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEP_AGENT_WEBHOOK_ALLOW", "127.0.0.1, hooks.lan,,10.0.0.0/8 ")
    assert load().webhook_allow == ("127.0.0.1", "hooks.lan", "10.0.0.0/8")


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEP_AGENT_PORT", "9000")
    monkeypatch.setenv("DEEP_AGENT_API_KEY", "k" * 20)
    assert load().port == 9000
    settings = load(port=9001, host=None)
    assert settings.port == 9001
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "k" * 20


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "http"), ("PORT", "0"), ("PORT", "70000"), ("LOG_LEVEL", "loud"), ("API_KEY", "short"),
     ("THINK_THREADS", "0"), ("SQLITE_SYNCHRONOUS", "OFF")],
)  # fmt: skip
def test_a_wrong_value_names_its_variable_and_not_itself(monkeypatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DEEP_AGENT_{name}", value)
    with pytest.raises(InvalidInput, match=f"DEEP_AGENT_{name}") as caught:
        load()
    if name == "API_KEY":
        assert value not in str(caught.value)


def test_a_public_bind_without_a_key_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"0\.0\.0\.0") as caught:
        load(host="0.0.0.0").check_bind()
    assert "DEEP_AGENT_API_KEY" in caught.value.remedy
    Settings(host="0.0.0.0", api_key="k" * 20).check_bind()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.5", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.2", False), ("example.com", False)],
)  # fmt: skip
def test_loopback_is_known_by_address_not_by_look(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


def test_a_printed_setting_hides_the_key() -> None:
    assert "kkkk" not in repr(Settings(api_key="k" * 20))

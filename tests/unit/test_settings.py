"""Where each setting comes from, and which names are refused."""

from pathlib import Path

import pytest

from thunderline.errors import InvalidInput
from thunderline.settings import load_settings, show

NO_FILE = Path("/nonexistent/thunderline.toml")


def test_without_anything_the_defaults_hold() -> None:
    loaded = load_settings({}, file=NO_FILE)
    assert loaded.settings.web.port == 4000
    assert loaded.settings.store.bucket == "thunderline-artifacts"
    assert set(loaded.origins.values()) == {"default"}


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "thunderline.toml"
    file.write_text('[web]\nport = 1\nhost = "file"\n[platform]\ntenant = "file"\n')
    environment = {"THUNDERLINE_WEB__PORT": "2", "THUNDERLINE_WEB__HOST": "environment"}
    loaded = load_settings(environment, flags={"web.port": "3"}, file=file)
    assert (loaded.settings.web.port, loaded.settings.web.host) == (3, "environment")
    assert loaded.settings.platform.tenant == "file"
    assert loaded.origins["web.port"] == "flag"
    assert loaded.origins["web.host"] == "environment THUNDERLINE_WEB__HOST"
    assert loaded.origins["platform.tenant"] == f"file {file}"
    assert loaded.origins["web.max_upload_bytes"] == "default"


@pytest.mark.parametrize(
    ("variable", "part", "name"),
    [
        ("THUNDERLINE_HOME", "platform", "home"),
        ("MINIO_ENDPOINT", "store", "endpoint"),
        ("MINIO_BUCKET", "store", "bucket"),
        ("THUNDERLINE_URL", "client", "url"),
    ],
)
def test_the_names_of_the_contract_are_read(variable: str, part: str, name: str) -> None:
    loaded = load_settings({variable: "given"}, file=NO_FILE)
    assert str(getattr(getattr(loaded.settings, part), name)) == "given"
    assert loaded.origins[f"{part}.{name}"] == f"environment {variable}"


def test_variables_of_others_are_left_alone() -> None:
    beside_a_service = ("THUNDERLINE_PORT", "THUNDERLINE_SERVICE_HOST", "THUNDERLINE_PORT_4000_TCP_ADDR")
    others = dict.fromkeys(("PATH", "HOME", "THUNDERLINE_DEBUG", *beside_a_service), "1")
    loaded = load_settings(others, file=NO_FILE)
    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("THUNDERLINE_API_KY", "API_KEY"), ("THUNDERLINE_HOEM", "HOME"), ("THUNDERLINE_APIKEY", "API_KEY")],
)
def test_a_name_that_just_misses_ours_is_refused_with_the_one_meant(slip: str, meant: str) -> None:
    with pytest.raises(InvalidInput, match=f"{slip}: no such setting; did you mean THUNDERLINE_{meant}"):
        load_settings({slip: "1"}, file=NO_FILE)


@pytest.mark.parametrize("variable", ["THUNDERLINE_WEB__PROT", "THUNDERLINE_WEBB__PORT"])
def test_an_unknown_name_of_ours_is_refused(variable: str) -> None:
    with pytest.raises(InvalidInput, match=r"no such setting; `thunderline config show` lists them all"):
        load_settings({variable: "1"}, file=NO_FILE)


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "thunderline.toml"
    file.write_text("[store]\nbuckett = 'x'\n")
    with pytest.raises(InvalidInput, match=r"store\.buckett"):
        load_settings({}, file=file)


@pytest.mark.parametrize(("text", "problem"), [("[web", "not TOML"), ("port = 1", "expected a table")])
def test_a_file_of_the_wrong_form_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "thunderline.toml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=problem):
        load_settings({}, file=file)


def test_a_value_that_does_not_fit_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidInput, match=r"web\.port: .*got 'many'"):
        load_settings({"THUNDERLINE_WEB__PORT": "many"}, file=NO_FILE)


def test_a_secret_may_lie_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    loaded = load_settings({"THUNDERLINE_STORE__SECRET_KEY_FILE": str(secret)}, file=NO_FILE)
    assert loaded.settings.store.secret_key is not None
    assert loaded.settings.store.secret_key.get_secret_value() == "hunter2"
    rows = {row["name"]: row for row in show(loaded)}
    assert rows["store.secret_key"]["value"] == "**********"
    assert rows["store.secret_key"]["origin"].endswith(f"-> {secret}")
    assert "hunter2" not in repr(loaded) + str(rows)


def test_a_secret_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"cannot read {tmp_path}/none: No such file"):
        load_settings({"THUNDERLINE_DB__URL_FILE": f"{tmp_path}/none"}, file=NO_FILE)


def test_every_setting_is_shown_once_with_its_origin() -> None:
    rows = show(load_settings({}, file=NO_FILE))
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)) >= 15
    assert {"platform.home", "web.port", "db.url", "store.bucket", "client.api_key"} <= set(names)

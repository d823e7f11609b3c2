"""The command tree and its exit codes."""

import subprocess
import sys

import pytest

from thunderline.cli import main
from thunderline.errors import GateRefused, NotFound


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["thunderline", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_help_names_every_command_and_loads_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "import_module", lambda name: pytest.fail(f"loaded {name}"))
    assert run(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    assert [name for name in main._COMMANDS if f"  {name} " not in out] == []


def test_help_stays_light() -> None:
    code = (
        "import sys, resource, thunderline.cli.main as m; sys.argv = ['thunderline', '--help']\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'httpx', 'psycopg', 'fastapi', 'numpy', 'flwr'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments", [("nosuch",), ("up", "--nosuch"), ("up", "--port", "x"), ("config", "hide")]
)
def test_a_wrong_call_is_2(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    assert run(monkeypatch, *arguments) == 2


def test_an_error_of_the_house_is_one_sentence_and_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (NotFound("no model x\x1b"), GateRefused("no", gates=[])):

        def refuse(error: Exception = error, **_: object) -> None:
            raise error

        monkeypatch.setattr(main, "app", refuse)
        assert run(monkeypatch) == error.exit
    assert capsys.readouterr().err == "error: no model x\\x1b\nerror: no\n"


def test_a_setting_that_does_not_fit_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THUNDERLINE_WEB__PORT", "many")
    assert run(monkeypatch, "config", "show") == 2
    assert capsys.readouterr().err.startswith("error: web.port: ")


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("thunderline 0.")

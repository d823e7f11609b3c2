"""The platform's directory and its board."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from thunderline import process
from thunderline.cli.home import Board, Home, Part, dsn_of, home_of
from thunderline.errors import Conflict
from thunderline.settings import load_settings

ME = process.running(os.getpid())


def board() -> Board:
    assert ME is not None
    return Board("up", "http://127.0.0.1:1", "0.1.0", "2026-01-02T03:04:05.000000Z", ME)


def test_a_board_reads_back_as_written_and_only_its_owner_may(tmp_path: Path) -> None:
    home = Home(tmp_path)
    written = (
        board()
        .with_part(Part("api", "up", "here", ME, restarts=2))
        .with_part(Part("store", "external", "s3://b"))
    )
    home.write_board(written)
    assert home.board() == written
    assert home.board_file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["platform.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"state": "up"}'])
def test_a_damaged_board_is_no_board(tmp_path: Path, content: bytes) -> None:
    Home(tmp_path).board_file.write_bytes(content)
    assert Home(tmp_path).board() is None


def test_a_part_is_up_only_while_exactly_its_process_lives() -> None:
    assert ME is not None
    assert Part("api", "up", "", ME).is_up
    assert not Part("api", "up", "", replace(ME, started=ME.started + 1)).is_up
    assert not Part("api", "starting", "", ME).is_up
    assert not Part("api", "up", "").is_up
    assert Part("store", "directory", "").is_up
    assert not replace(board(), supervisor=replace(ME, started=0)).is_up


def test_a_part_told_again_keeps_its_place() -> None:
    told = (
        board()
        .with_part(Part("a", "starting", ""))
        .with_part(Part("b", "up", ""))
        .with_part(Part("a", "up", ""))
    )
    assert [(one.name, one.state) for one in told.parts] == [("a", "up"), ("b", "up")]


def test_a_home_has_one_supervisor_at_a_time(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert not home.is_supervised()
    with home.only_supervisor():
        assert home.is_supervised()
        with (
            pytest.raises(Conflict, match=f"the platform in {tmp_path} is running already"),
            home.only_supervisor(),
        ):
            pass
    assert not home.is_supervised()
    with home.only_supervisor():
        assert home.is_supervised()


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "secret.new").write_text("left by a crash, readable by all")
    home.write_private(tmp_path / "secret", b"one")
    home.write_private(tmp_path / "secret", b"two")
    assert (tmp_path / "secret").read_bytes() == b"two"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 1


def test_postgres_is_reached_by_the_given_url_or_below_home(short_path: Path) -> None:
    given = load_settings(
        {"DATABASE_URL": "postgresql://x@y/z", "THUNDERLINE_HOME": str(short_path)}
    ).settings
    assert dsn_of(given) == "postgresql://x@y/z"
    embedded = load_settings({"THUNDERLINE_HOME": f"{short_path}/it's"}).settings
    assert home_of(embedded).path == short_path / "it's"
    assert dsn_of(embedded) == f"host='{short_path}/it\\'s/postgres/s' user=tl_login dbname=thunderline"

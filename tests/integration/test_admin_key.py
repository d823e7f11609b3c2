"""The administrator's key of a home."""

from pathlib import Path

from thunderline.cli.home import Home
from thunderline.cli.supervisor import ensure_admin
from thunderline.clock import SystemClock
from thunderline.db.pool import Database
from thunderline.identity.api_key import issue
from thunderline.identity.authenticate import Authenticator


def test_the_key_is_made_once_private_and_recognised(database: Database, tmp_path: Path) -> None:
    home = Home(tmp_path)
    ensure_admin(home, database.dsn, "third")
    text = home.key_file.read_text()
    assert home.key_file.stat().st_mode & 0o777 == 0o600
    ensure_admin(home, database.dsn, "third")
    assert home.key_file.read_text() == text
    principal = Authenticator(database, SystemClock()).principal(text.strip())
    assert (principal.tenant, principal.name, "promotions:rollback" in principal.scopes) == (
        "third",
        "admin",
        True,
    )
    with database.system() as connection:
        assert connection.execute("select count(*) from tl.api_key").fetchone() == (1,)


def test_a_key_file_that_outlived_its_database_is_taken_up_again(database: Database, tmp_path: Path) -> None:
    home, text = Home(tmp_path), issue().text
    home.write_private(home.key_file, f"{text}\n".encode())
    ensure_admin(home, database.dsn, "default")
    assert home.key_file.read_text() == f"{text}\n"
    assert Authenticator(database, SystemClock()).principal(text).name == "admin"


def test_a_damaged_key_file_is_replaced_by_a_key_that_works(database: Database, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.key_file.write_text("tl_nonsense\n")
    ensure_admin(home, database.dsn, "default")
    assert Authenticator(database, SystemClock()).principal(home.key_file.read_text().strip()).name == "admin"

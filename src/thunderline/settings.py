"""The one ``Settings``, and where each of its values came from."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ConfigDict, SecretStr, TypeAdapter, ValidationError, with_config

from thunderline.errors import InvalidInput

SYSTEM_FILE = Path("/etc/thunderline/thunderline.toml")
_STRICT = ConfigDict(extra="forbid", str_strip_whitespace=True)


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """Where the platform lives on this machine."""

    home: Path = Path(".thunderline")  # every file of the platform lies below it
    tenant: str = "default"  # the tenant whose objects lie at the bucket's root


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class WebSettings:
    """The API."""

    host: str = "127.0.0.1"
    port: int = 4000  # taken by another program: the kernel chooses a free one
    max_upload_bytes: int = 64 << 30
    idle_timeout_s: float = 60.0  # an upload that sends nothing for so long is refused


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class DbSettings:
    """Postgres: embedded unless a URL is given."""

    url: SecretStr | None = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The object store: a directory below home unless an endpoint or a URL is given."""

    url: str | None = None  # s3://bucket/prefix, gs://..., az://...: credentials from that cloud's own means
    endpoint: str | None = None  # an S3-compatible server, with the two keys below
    access_key: str | None = None
    secret_key: SecretStr | None = None
    bucket: str = "thunderline-artifacts"
    keep_free_bytes: int = 256 << 20  # uploads are refused when less would stay free

    @property
    def place(self) -> tuple[str, str]:
        """Return the bucket and the prefix inside it: those of the URL when one is given."""
        if self.url is None:
            return self.bucket, ""
        parts = urlsplit(self.url)
        return parts.netloc, parts.path.strip("/")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Redis, for batch training; nothing else needs it."""

    url: SecretStr | None = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How the command line and consumers reach the API; by default the platform below home."""

    url: str | None = None
    api_key: SecretStr | None = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, read once."""

    platform: PlatformSettings = field(default_factory=PlatformSettings)
    web: WebSettings = field(default_factory=WebSettings)
    db: DbSettings = field(default_factory=DbSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    client: ClientSettings = field(default_factory=ClientSettings)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and, for each dotted name, the place its value came from."""

    settings: Settings
    origins: Mapping[str, str]


CONTRACT_NAMES = {
    "THUNDERLINE_HOME": "platform.home",
    "DATABASE_URL": "db.url",
    "REDIS_URL": "redis.url",
    "MINIO_ENDPOINT": "store.endpoint",
    "MINIO_ACCESS_KEY": "store.access_key",
    "MINIO_SECRET_KEY": "store.secret_key",
    "MINIO_BUCKET": "store.bucket",
    "THUNDERLINE_URL": "client.url",
    "THUNDERLINE_API_KEY": "client.api_key",
}
_PREFIX = "THUNDERLINE_"


def load_settings(
    environment: Mapping[str, str] | None = None,
    *,
    flags: Mapping[str, str] | None = None,
    file: Path = SYSTEM_FILE,
) -> Loaded:
    """Read the settings: defaults, then the file, then the environment, then flags.

    Args:
        environment: names and values; by default the process's own.
        flags: dotted names and values from the command line.
        file: a TOML file with a table for each part.

    Raises:
        InvalidInput: an unknown name, or a value that does not fit; the name says where.
    """
    values: dict[str, str | int | float] = {}
    origins = dict.fromkeys(_names(), "default")
    for name, value in _from_file(file).items():
        values[name], origins[name] = value, f"file {file}"
    given = os.environ if environment is None else environment
    for variable, name in sorted(_from_environment(given).items()):
        values[name], origins[name] = given[variable], f"environment {variable}"
    for name, value in (flags or {}).items():
        values[name], origins[name] = value, "flag"
    return Loaded(_checked(_with_secret_files(values, origins)), origins)


def show(loaded: Loaded) -> list[dict[str, str]]:
    """Return each setting's dotted name, value and origin; secrets as stars."""
    rows = []
    for part in fields(Settings):
        section = getattr(loaded.settings, part.name)
        for one in fields(section):
            name = f"{part.name}.{one.name}"
            value = getattr(section, one.name)
            rows.append(
                {"name": name, "value": "" if value is None else str(value), "origin": loaded.origins[name]}
            )
    return rows


def _names() -> list[str]:
    return [
        f"{part.name}.{one.name}"
        for part in fields(Settings)
        for one in fields(getattr(Settings(), part.name))
    ]


def _from_file(file: Path) -> dict[str, str | int | float]:
    if not file.is_file():
        return {}
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(str(file), f"not TOML: {error}") from error
    found: dict[str, str | int | float] = {}
    for part, table in document.items():
        if not isinstance(table, dict):
            raise InvalidInput(f"{file}: {part}", "expected a table such as [web]")
        for name, value in table.items():
            found[f"{part}.{name}"] = value
    return found


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for variable in environment:
        if variable in CONTRACT_NAMES:
            found[variable] = CONTRACT_NAMES[variable]
        elif variable.startswith(_PREFIX) and "__" in variable:
            found[variable] = variable.removeprefix(_PREFIX).lower().replace("__", ".", 1)
        elif variable.startswith(_PREFIX):
            _refuse_slip(variable)
    return found


def _refuse_slip(variable: str) -> None:
    """Refuse a name that only just misses one of ours; other one-word names belong to others.

    Kubernetes, for one, sets THUNDERLINE_PORT and THUNDERLINE_SERVICE_HOST beside a service of that name.
    """
    ours = [name.removeprefix(_PREFIX) for name in CONTRACT_NAMES if name.startswith(_PREFIX)]
    near = difflib.get_close_matches(variable.removeprefix(_PREFIX), ours, 1, cutoff=0.75)
    if near:
        raise InvalidInput(variable, f"no such setting; did you mean {_PREFIX}{near[0]}?")


def _with_secret_files(
    values: dict[str, str | int | float], origins: dict[str, str]
) -> dict[str, str | int | float]:
    """Replace each ``name_file`` by ``name`` with the file's content, so that secrets may stay in files."""
    known = set(_names())
    found: dict[str, str | int | float] = {}
    for name, value in values.items():
        target = name.removesuffix("_file")
        if name in known or target not in known:
            found[name] = value
            continue
        try:
            found[target] = Path(str(value)).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InvalidInput(name, f"cannot read {value}: {error.strerror}") from error
        origins[target] = f"{origins.pop(name)} -> {value}"
    return found


def _checked(values: Mapping[str, str | int | float]) -> Settings:
    document: dict[str, dict[str, str | int | float]] = {}
    for name, value in values.items():
        part, _, one = name.partition(".")
        document.setdefault(part, {})[one] = value
    try:
        return TypeAdapter(Settings).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if "unexpected" in first["type"] or "extra" in first["type"]:
            raise InvalidInput(where, "no such setting; `thunderline config show` lists them all") from error
        raise InvalidInput(where, f"{first['msg']} (got {first['input']!r})") from error

"""What a spec reads: where the bytes lie, and giving them out only if they are the bytes it means."""

from collections.abc import Iterator
from dataclasses import dataclass

from thunderline.artifacts.records import find_file
from thunderline.artifacts.store import Store
from thunderline.canonical import is_digest, sha256_hex
from thunderline.db.pool import Connected, Database
from thunderline.errors import ChecksumMismatch, InvalidInput, NotFound
from thunderline.federation.spec import FederationSpec

_FILE = "sha256:"
_OBJECT = "s3://"


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that a spec reads."""

    field: str  # its path in the spec
    relation: str  # how lineage says that a federation used it
    uri: str  # sha256:<file id>, or s3://bucket/key
    sha256: str | None  # as the spec says; checked when the bytes are read


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that were read, and their digest."""

    content: bytes
    sha256: str


def base_of(spec: FederationSpec) -> Input:
    """Return the model that every client starts from."""
    return Input("spec.modelRef.uri", "started_from", spec.model_ref.uri, spec.model_ref.sha256)


def shards_of(spec: FederationSpec) -> list[Input]:
    """Return each client's data, in the order of the spec."""
    return [
        Input(f"spec.datasetSpec.shards.{number}.uri", "trained_on", one.uri, one.sha256)
        for number, one in enumerate(spec.shards)
    ]


def validation_of(spec: FederationSpec) -> Input | None:
    """Return the held-out data, None when the spec names none."""
    held_out = spec.validation
    if held_out is None:
        return None
    return Input("spec.datasetSpec.validation.uri", "evaluated_on", held_out.uri, held_out.sha256)


def _all(spec: FederationSpec) -> Iterator[Input]:
    yield base_of(spec)
    yield from shards_of(spec)
    held_out = validation_of(spec)
    if held_out is not None:
        yield held_out


def check_inputs(connection: Connected, store: Store, tenant: str, spec: FederationSpec) -> None:
    """Make sure that everything a spec reads is there, before anything is kept.

    Args:
        connection: a transaction of the tenant.
        store: where objects lie.
        tenant: whose federation it is.
        spec: parsed.

    Raises:
        InvalidInput: with the path of the first input that is missing or cannot be read here.
    """
    for one in _all(spec):
        if one.uri.startswith(_FILE):
            digest = _digest_in(one)
            if one.sha256 not in (None, digest):
                raise InvalidInput(one.field, f"names {digest}, but sha256 says {one.sha256}")
            if find_file(connection, digest) is None:
                raise InvalidInput(one.field, f"there is no file {digest}; upload it with POST /files first")
        elif one.uri.startswith(_OBJECT):
            if _size(store, tenant, one) is None:
                raise InvalidInput(one.field, f"there is no object {one.uri}; push it first")
        else:
            raise InvalidInput(
                one.field,
                f"{one.uri[:120]!r} cannot be read here; use sha256:<file id> or s3://{store.bucket}/<key>",
            )


def _digest_in(one: Input) -> str:
    digest = one.uri.removeprefix(_FILE)
    if not is_digest(digest):
        raise InvalidInput(one.field, f"{one.uri[:120]!r} is not sha256: and 64 lowercase hex digits")
    return digest


def _size(store: Store, tenant: str, one: Input) -> int | None:
    try:
        return store.size_at(tenant, one.uri)
    except NotFound as error:
        raise InvalidInput(one.field, str(error)) from error


def read_input(database: Database, store: Store, tenant: str, one: Input) -> Content:
    """Return the bytes of an input.

    Args:
        database: asked whether the tenant has the file.
        store: where the bytes lie.
        tenant: whose federation it is.
        one: of ``base_of``, ``shards_of`` or ``validation_of``.

    Raises:
        NotFound: it is not there any more.
        ChecksumMismatch: the bytes are others than the spec or the store says (S3-42).
    """
    if one.uri.startswith(_FILE):
        digest = _digest_in(one)
        with database.transaction(tenant) as connection:
            if find_file(connection, digest) is None:
                raise NotFound(f"{one.field}: there is no file {digest} any more")
        return Content(store.read(digest), digest)
    content = store.read_at(tenant, one.uri)
    read = sha256_hex(content)
    if one.sha256 is not None and read != one.sha256:
        raise ChecksumMismatch(one.uri, recorded=one.sha256, read=read)
    return Content(content, read)

"""The published copy of a reference: ``latest.<ext>`` and ``latest.json``, never older than its event."""

from collections.abc import Callable, Mapping

from thunderline.artifacts.artifact import extension_of
from thunderline.artifacts.store import Store
from thunderline.canonical import Json, canonical_bytes
from thunderline.db.pool import Connected, Database
from thunderline.document import parse_json
from thunderline.errors import InvalidInput, NotFound
from thunderline.events.catalog import ArtifactPromoted
from thunderline.events.outbox import Recorded
from thunderline.promotion.records import held_by, lock_published
from thunderline.promotion.stage import stage_of_label
from thunderline.registry.records import model_named
from thunderline.registry.reference import document


def folder_of(model: str, label: str) -> str:
    """Return the key below which a reference is published.

    >>> folder_of("coop", "prod"), folder_of("coop", "shadow")
    ('models/coop', 'models/coop/shadow')
    """
    return f"models/{model}" if label == "prod" else f"models/{model}/{label}"


def reference_document(connection: Connected, *, tenant: str, model: str, label: str) -> dict[str, Json]:
    """Return what consumers read of a reference.

    Raises:
        NotFound: no such model, or the reference was never set.
    """
    held = held_by(connection, model, label)
    if held is None:
        model_named(connection, model)  # a model that does not exist is said in its own words
        raise NotFound(
            f"{model}:{label} holds nothing yet; `thunderline promote ADDRESS --to {model}:{label}`"
        )
    return document(held, tenant=tenant, stage=stage_of_label(label))


def publish_latest(database: Database, store: Store, *, tenant: str, model: str, label: str) -> None:
    """Make the published copy agree with the reference; safe to repeat, from any process, after any crash.

    The bytes go first, the document after them, the copy under an older extension last. Writers take turns
    and each writes what the row says at that moment, so the copy never goes back.

    Raises:
        Unavailable: the store or the database is away; the relay tries again.

    Source:
        S0-30, S0-49; decision 2 of the requirements.
    """
    folder = folder_of(model, label)
    with database.transaction(tenant) as connection:
        lock_published(connection, model, label)
        wanted = reference_document(connection, tenant=tenant, model=model, label=label)
        content = canonical_bytes(wanted)
        before = store.read_document(tenant, f"{folder}/latest.json")
        name = f"latest.{extension_of(str(wanted['format']))}"
        held_bytes = store.size_at(tenant, store.uri(tenant, f"{folder}/{name}"))
        if before == content and held_bytes == wanted["size_bytes"]:
            return
        store.replace(tenant, str(wanted["sha256"]), f"{folder}/{name}")
        store.write_document(tenant, f"{folder}/latest.json", content)
        older = _name_before(before)
        if older not in (None, name):
            store.remove(tenant, f"{folder}/{older}")


def _name_before(content: bytes | None) -> str | None:
    """Return the file name that an older document speaks of; a damaged document speaks of none."""
    if content is None:
        return None
    try:
        told = parse_json(content, field="latest.json")
        return f"latest.{extension_of(str(told.get('format')))}" if isinstance(told, Mapping) else None
    except InvalidInput:
        return None


def publisher(database: Database, store: Store) -> Callable[[Recorded], None]:
    """Return what the relay does before anybody can read of a promotion: publish the copy.

    Args:
        database: where references live.
        store: where the copy goes.
    """

    def publish(recorded: Recorded) -> None:
        if recorded.type == ArtifactPromoted.type:
            model, label = str(recorded.data["model"]), str(recorded.data["label"])
            publish_latest(database, store, tenant=recorded.tenant, model=model, label=label)

    return publish

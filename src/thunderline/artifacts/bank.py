"""The Data Bank's acts: receive, find, delete what nothing refers to."""

from dataclasses import dataclass

from thunderline.artifacts.blob_store import Receiver
from thunderline.artifacts.records import (
    FileRecord,
    delete_file,
    find_file,
    holders,
    lock_digest,
    record_file,
    referrers,
)
from thunderline.artifacts.store import Store
from thunderline.canonical import parse_digest
from thunderline.clock import Clock
from thunderline.db.pool import Database
from thunderline.errors import NotFound, StillReferenced
from thunderline.identity.principal import Principal


@dataclass(frozen=True, slots=True)
class Bank:
    """Files of every tenant over one store: bytes are kept once, a row gives a tenant access."""

    database: Database
    store: Store
    clock: Clock

    def keep(
        self, who: Principal, receiver: Receiver, *, content_type: str, expected: str | None = None
    ) -> FileRecord:
        """Finish an upload and record it for the caller's tenant.

        The digest stays locked against deletion from before the blob appears until the row is committed.

        Args:
            who: the caller.
            receiver: all bytes taken.
            content_type: as sent.
            expected: the digest that the caller announced.

        Raises:
            ChecksumMismatch: the bytes have another digest; nothing stays.
        """
        with self.database.transaction(who.tenant) as connection:
            lock_digest(connection, receiver.digest(), is_exclusive=False)
            stored = receiver.commit(expected)
            return record_file(
                connection,
                stored=stored,
                content_type=content_type,
                actor=who.actor,
                at=self.clock.now(),
            )

    def find(self, who: Principal, file_id: str) -> FileRecord:
        """Return the tenant's file.

        Raises:
            NotFound: the tenant has none of that id, whoever else may; or the id is no digest.
        """
        with self.database.transaction(who.tenant) as connection:
            found = find_file(connection, file_id)
        if found is None:
            raise NotFound(f"there is no file {file_id[:80]}")
        return found

    def delete(self, who: Principal, file_id: str) -> None:
        """Forget the tenant's file, and its bytes when no tenant has it any more; missing is fine.

        Raises:
            StillReferenced: an artifact of the tenant is made of it.
        """
        digest = parse_digest(file_id, "file_id")
        with self.database.transaction(who.tenant) as connection:
            lock_digest(connection, digest, is_exclusive=True)
            found = referrers(connection, digest)
            if found:
                raise StillReferenced(f"file {digest}", [{"kind": one.kind, "id": one.id} for one in found])
            delete_file(connection, digest)
        with self.database.system() as connection:
            lock_digest(connection, digest, is_exclusive=True)
            if holders(connection, digest) == 0:
                self.store.forget(digest)

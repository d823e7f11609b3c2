"""From a key to a principal, with a short memory so that a hot route asks Postgres rarely."""

from datetime import datetime, timedelta
from threading import Lock

from thunderline.clock import Clock
from thunderline.db.pool import Database
from thunderline.errors import NotAuthenticated
from thunderline.identity.api_key import key_id_of, matches
from thunderline.identity.principal import Principal
from thunderline.identity.records import StoredKey, key_by_id

_REMEMBER = timedelta(seconds=5)  # the longest that a revoked key still works
_MOST = 1_000
_NOBODY = "0" * 64


class Authenticator:
    """Recognises API keys."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._known: dict[str, tuple[datetime, StoredKey]] = {}
        self._lock = Lock()

    def principal(self, key: str | None) -> Principal:
        """Return who presents this key.

        Args:
            key: the text of ``X-API-Key``, None when the header is absent.

        Raises:
            NotAuthenticated: no key, or one that is malformed, unknown, wrong, expired or revoked; the
                answer does not tell which.
        """
        if not key:
            raise NotAuthenticated("no API key; send it in the header X-API-Key")
        now = self._clock.now()
        stored = self._stored(key_id_of(key), now)
        right = matches(key, stored.sha256 if stored else _NOBODY)
        if stored is None or not right or not stored.is_valid(now):
            raise NotAuthenticated("this API key is not valid; ask for a new one")
        return Principal(stored.tenant, stored.owner, frozenset(stored.scopes))

    def _stored(self, key_id: str | None, now: datetime) -> StoredKey | None:
        if key_id is None:
            return None
        with self._lock:
            remembered = self._known.get(key_id)
        if remembered and timedelta(0) <= now - remembered[0] < _REMEMBER:
            return remembered[1]
        with self._database.system() as connection:
            found = key_by_id(connection, key_id)
        if found is not None:
            with self._lock:
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[key_id] = (now, found)
        return found

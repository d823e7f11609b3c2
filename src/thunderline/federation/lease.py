"""A lease: what a client may do for a federation, and until when; pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from thunderline.federation.spec import FederationSpec


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as kept (CONTRACTS 2.2); ``manifest_uri`` is None for a client in the server's own process."""

    id: str
    federation_id: str
    client_id: str
    manifest_uri: str | None
    lease_expires_at: datetime
    epochs_max: int
    tokens_max: int
    status: str  # issued, claimed, expired, released or completed
    created_at: datetime


def expiry(spec: FederationSpec, at: datetime) -> datetime:
    """Return when a lease issued or renewed at a moment ends."""
    return at + timedelta(seconds=spec.lease_ttl_s)

"""Who asks, for which tenant, with which rights."""

from dataclasses import dataclass

from thunderline.errors import NotPermitted

SCOPES = (
    "files:read",
    "files:write",
    "files:delete",
    "artifacts:read",
    "artifacts:write",
    "models:read",
    "models:write",
    "promotions:write",
    "promotions:rollback",
    "events:read",
    "federations:read",
    "federations:write",
    "consumers:read",
    "consumers:write",
)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller."""

    tenant: str
    name: str  # such as ``admin``; unique within the tenant
    scopes: frozenset[str]

    @property
    def actor(self) -> str:
        """Return the name as histories write it: ``name@tenant``."""
        return f"{self.name}@{self.tenant}"

    def require(self, scope: str) -> None:
        """Let the caller pass only with this right.

        Raises:
            NotPermitted: the key does not carry ``scope``.
        """
        if scope not in self.scopes:
            raise NotPermitted(f"{self.actor} lacks the right {scope}; ask for a key that carries it")

"""From an address to the artifact it names."""

from thunderline.artifacts.artifact import Artifact
from thunderline.artifacts.records import artifact_by_id, artifact_by_uri, artifacts_by_digest
from thunderline.db.pool import Connected
from thunderline.errors import NotFound
from thunderline.promotion.stage import Address, ByDigest, ByUri, ByVersion
from thunderline.registry.records import find_reference, version_numbered, version_of_artifact


def find_artifact(connection: Connected, address: Address, *, model: str | None = None) -> Artifact:
    """Return the artifact that an address names.

    Args:
        connection: a tenant's transaction.
        address: a version, a reference, a URI or a digest.
        model: of several artifacts with one digest, one that this model has as a version is preferred.

    Raises:
        NotFound: the tenant has no such thing.
    """
    if isinstance(address, ByUri):
        return artifact_by_uri(connection, address.uri)
    if isinstance(address, ByVersion):
        version = version_numbered(connection, model=address.model, version=address.version)
        return artifact_by_id(connection, version.artifact_id)
    if isinstance(address, ByDigest):
        return _by_digest(connection, address.sha256, model)
    reference = find_reference(connection, address.model, address.label)
    if reference is None:
        raise NotFound(f"{address.ref} holds nothing yet; promote to it first")
    return artifact_by_id(connection, reference.artifact_id)


def _by_digest(connection: Connected, sha256: str, model: str | None) -> Artifact:
    found = artifacts_by_digest(connection, sha256)
    if not found:
        raise NotFound(f"there is no artifact {sha256}; push it with `thunderline artifact push`")
    for one in found:
        if model and version_of_artifact(connection, model=model, artifact_id=one.id):
            return one
    return found[0]

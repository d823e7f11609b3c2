"""The flat spelling of a FederationSpec, as one of the source documents writes it, turned into the other."""

from collections.abc import Mapping

from thunderline.canonical import Json
from thunderline.errors import InvalidInput

_KNOWN = (
    "name", "tenant", "model", "model_ref", "strategy", "num_rounds", "client_fraction", "dp", "secure_agg",
    "client_selector", "dataset_spec", "artifacts",
)  # fmt: skip


def is_flat(document: Mapping[str, Json]) -> bool:
    """Tell whether a document is in the flat spelling: it names no ``apiVersion`` and no ``spec``."""
    return "apiVersion" not in document and "spec" not in document and "model_ref" in document


def from_flat(document: Mapping[str, Json], *, bucket: str) -> dict[str, Json]:
    """Turn the flat spelling into the nested one.

    Args:
        document: as read.
        bucket: the configured one; the flat spelling names none.

    Raises:
        InvalidInput: an unknown key, or a part of a wrong form.

    >>> from_flat({"name": "a", "model_ref": "sha256:0", "num_rounds": 2}, bucket="b")["spec"]["rounds"]
    {'total': 2}
    """
    for key in document:
        if key not in _KNOWN:
            raise InvalidInput(key, f"no such key; known are {', '.join(_KNOWN)}")
    metadata = {key: document[key] for key in ("name", "tenant", "model") if key in document}
    model_ref = document["model_ref"]
    spec: dict[str, Json] = {
        "modelRef": {"uri": model_ref} if isinstance(model_ref, str) else model_ref,
        "strategy": _strategy(document),
        "rounds": {"total": document.get("num_rounds")},
        "privacy": _privacy(document),
        "artifacts": document.get("artifacts", {"outputBucket": bucket}),
    }
    if "client_selector" in document:
        spec["clientSelector"] = _renamed(
            document["client_selector"], {"embedding_query": "embeddingQuery"}, "client_selector"
        )
    if "dataset_spec" in document:
        spec["datasetSpec"] = _dataset(document["dataset_spec"])
    return {"apiVersion": "thunderline/v1", "kind": "FederationSpec", "metadata": metadata, "spec": spec}


def _mapping(value: Json, field: str) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise InvalidInput(field, "expected a mapping")
    return value


def _renamed(value: Json, names: Mapping[str, str], field: str) -> dict[str, Json]:
    return {names.get(key, key): one for key, one in _mapping(value, field).items()}


def _strategy(document: Mapping[str, Json]) -> dict[str, Json]:
    given = document.get("strategy", "fedavg")
    found = {"name": given} if isinstance(given, str) else dict(_mapping(given, "strategy"))
    params = dict(_mapping(found.get("params", {}), "strategy.params"))
    if "client_fraction" in document:
        params["clientFraction"] = document["client_fraction"]
    return {**found, "params": params}


def _privacy(document: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {"secureAggregation": {"enabled": document.get("secure_agg", False)}}
    if document.get("dp") is not None:
        found["dp"] = {"enabled": True, **_mapping(document["dp"], "dp")}
    return found


def _dataset(value: Json) -> dict[str, Json]:
    given = _mapping(value, "dataset_spec")
    found = {key: one for key, one in given.items() if key not in {"uris", "hashes"}}
    uris, hashes = given.get("uris"), given.get("hashes", [])
    if uris is None:
        return found
    if not isinstance(uris, list) or not isinstance(hashes, list) or len(hashes) not in (0, len(uris)):
        raise InvalidInput("dataset_spec.hashes", "expected one hash for each of uris, or none")
    padded = hashes or [None] * len(uris)
    found["shards"] = [{"uri": uri, "sha256": digest} for uri, digest in zip(uris, padded, strict=True)]
    return found

"""What the tests of the web face push before they look: files, artifacts, models."""

from dataclasses import dataclass

import httpx

from tests.serving import RunningApi

ACCURACY = {"metric": {"metric": "accuracy", "direction": "higher", "margin": 0.01, "floor": 0.5}}
Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Pushed:
    """An artifact as the API told of it."""

    id: str
    sha256: str
    uri: str
    version: int | None


def done(response: httpx.Response, status: int = 200) -> Document:
    """Return the document of an answer that must have this status."""
    assert response.status_code == status, response.text
    found = response.json()
    assert isinstance(found, dict)
    return found


def refused(response: httpx.Response, status: int, code: str) -> Document:
    """Return the problem document of a refusal, complete as the contract says."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert told["code"] == code
    assert (told["status"], told["detail"]) == (status, told["message"])
    assert told["message"]
    assert told["request_id"] == response.headers["x-request-id"]
    assert isinstance(told, dict)
    return told


def upload(client: httpx.Client, content: bytes) -> str:
    """Upload a file and return its id."""
    return str(done(client.post("/files", content=content), 201)["file_id"])


def register(client: httpx.Client, name: str = "m", gates: Document | None = None) -> Document:
    """Register a model that is judged by its accuracy."""
    return done(
        client.post("/api/models", json={"name": name, "gates": ACCURACY if gates is None else gates}), 201
    )


def push(client: httpx.Client, content: bytes, accuracy: float = 0.9, **more: object) -> Pushed:
    """Upload bytes and make them a version of model m."""
    told = done(
        client.post(
            "/api/artifacts",
            json={
                "file_id": upload(client, content),
                "name": "model.safetensors",
                "model": "m",
                "metrics": {"accuracy": accuracy},
                **more,
            },
        ),
        201,
    )
    version = told["version"]
    return Pushed(
        str(told["id"]), str(told["sha256"]), str(told["uri"]), version if isinstance(version, int) else None
    )


def promotion(artifact: Pushed, target: str = "m:prod", **more: object) -> Document:
    """Return the document that asks for a promotion, as the source document names its fields."""
    return {
        "federation_id": None,
        "artifact_uri": artifact.uri,
        "target_ref": target,
        "reason": "test",
        **more,
    }


def promote(client: httpx.Client, artifact: Pushed, target: str = "m:prod", **more: object) -> Document:
    """Promote and return the history row."""
    told = done(client.post("/api/promotions", json=promotion(artifact, target, **more)), 201)
    row = told["promotion"]
    assert isinstance(row, dict)
    return row


def damage(api: RunningApi, uri: str, content: bytes) -> None:
    """Let the object at a readable URI hold other bytes of the same length, behind the store's back."""
    key = api.services.store._key_at("default", uri)
    file = api.services.store._blobs.path(key)
    assert file.stat().st_size == len(content)
    file.chmod(0o640)
    file.write_bytes(content)

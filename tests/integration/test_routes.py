"""Every route: closed to whoever may not, and never at a loss for words."""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from uuid import uuid4

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.pushing import done, push, refused, register
from tests.serving import RunningApi
from thunderline.document import JSON_LIMIT_BYTES
from thunderline.identity.api_key import issue
from thunderline.identity.principal import SCOPES
from thunderline.web.access import PUBLIC, needs, refuse_undeclared, right_of, routes
from thunderline.web.app import describe_app

PUBLIC_PATHS = {"/", "/docs", "/openapi.json", "/healthz", "/readyz"}


def addresses() -> Iterator[tuple[str, str, str]]:
    """Every (method, path with something in its gaps, right)."""
    for route in routes(describe_app()):
        for method in sorted(route.methods):
            yield method, re.sub(r"\{[^}]+\}", str(uuid4()), route.path), route.right or ""


def writing() -> list[str]:
    """Every path that takes a JSON body, by its method."""
    return [
        f"{method} {path}"
        for method, path, _ in addresses()
        if method in {"POST", "PUT"} and path != "/files"
    ]


def assert_refused(answer: httpx.Response, method: str, status: int, code: str) -> None:
    if method == "HEAD":  # carries no body
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    else:
        refused(answer, status, code)


def test_the_public_routes_are_these_and_no_more() -> None:
    assert {path for _, path, right in addresses() if right == PUBLIC} == PUBLIC_PATHS
    assert {right for _, _, right in addresses()} <= {PUBLIC, *SCOPES}


def test_nobody_passes_without_a_valid_key(api: RunningApi) -> None:
    unknown = issue().text
    swapped = api.key[:16] + unknown[16:]
    with httpx.Client(base_url=api.url, timeout=30) as client:
        for method, path, right in addresses():
            if right == PUBLIC:
                assert client.request(method, path).status_code == 200, path
                continue
            answer = client.request(method, path)
            assert_refused(answer, method, 401, "NOT_AUTHENTICATED")
            assert answer.headers["www-authenticate"].startswith("ApiKey")
            for key in ("", "x", unknown, swapped, "\u00fc".encode()):
                answer = client.request(method, path, headers={"X-API-Key": key})
                assert_refused(answer, method, 401, "NOT_AUTHENTICATED")


def test_nobody_passes_with_a_key_for_everything_else(api: RunningApi) -> None:
    lacking = {right: api.add_key(*(one for one in SCOPES if one != right)) for right in SCOPES}
    with httpx.Client(base_url=api.url, timeout=30) as client:
        for method, path, right in addresses():
            if right != PUBLIC:
                answer = client.request(method, path, headers={"X-API-Key": lacking[right]})
                assert_refused(answer, method, 403, "NOT_PERMITTED")
                assert method == "HEAD" or right in answer.json()["message"]


def test_what_is_not_there_and_what_may_not_be_done_is_told_as_a_problem(api: RunningApi) -> None:
    with api.client() as client:
        for path in ("/nowhere", "/api", "/api/nowhere", "/files", "/api/models/", "/files/x/y/z"):
            answer = client.get(path)
            if path == "/files":
                refused(answer, 405, "METHOD_NOT_ALLOWED")
                assert answer.headers["allow"] == "POST"
            else:
                refused(answer, 404, "NOT_FOUND")
        for method, path, allowed in (
            ("DELETE", "/api/models", {"GET", "POST"}),
            ("PATCH", "/api/promotions", {"POST"}),
            ("PUT", "/healthz", {"GET"}),
            ("POST", "/files/x", {"GET", "HEAD", "DELETE"}),
        ):
            answer = client.request(method, path)
            refused(answer, 405, "METHOD_NOT_ALLOWED")
            assert set(answer.headers["allow"].split(", ")) == allowed


def test_bodies_that_are_no_strict_json_are_refused_everywhere(api: RunningApi) -> None:
    with api.client() as client:
        for address in writing():
            method, path = address.split(" ")
            if "/federations" in path or path.endswith("/verify"):
                continue  # YAML, or no body at all
            for body in (
                b"",
                b"{",
                b'{"a": NaN}',
                b'{"a": -Infinity}',
                b'{"a": 1, "a": 2}',
                b"[" * 5000,
                b'{"a":' * 40 + b"1" + b"}" * 40,
                b"\xff\xfe{}",
                b'{"a": "\\u0000"}',
                b'{"a": "\\ud800"}',
                b'{"a": 1%b}' % (b"0" * 400),
                b"[]",
                b"null",
                b'"x"',
            ):
                answer = client.request(method, path, content=body)
                refused(answer, 400, "INVALID_INPUT")
            large = b'{"a": "' + b"x" * JSON_LIMIT_BYTES + b'"}'
            refused(client.request(method, path, content=large), 413, "PAYLOAD_TOO_LARGE")


def test_an_unknown_field_is_refused_with_the_one_that_was_meant(api: RunningApi) -> None:
    with api.client() as client:
        told = refused(
            client.post("/api/promotions", json={"target_ref": "m:prod", "reason": "x", "artefact": "m@1"}),
            400,
            "INVALID_INPUT",
        )
        assert told["message"] == "artefact: no such field; did you mean artifact?"


def test_odd_addresses_are_refused_not_stumbled_over(api: RunningApi) -> None:
    with api.client() as client:
        for path in (
            "/api/models/%00",
            "/api/models/m%00/history",
            "/api/models/m/references/%00",
            "/api/models?after=%00",
            "/api/lineage?address=%00",
            "/api/artifacts/resolve?address=m%00@1",
            "/api/consumers/adoption?reference=m:pr%00od",
            "/api/federations/%00",
            "/api/events?types=%00",
            "/api/promotions/%00",
            "/api/models/%FF%FE/candidates",
            "/api/models/m/candidates?by=%FF",
            "/api/models?limit=0",
            "/api/models?limit=x",
            "/api/models/" + "a" * 3000,
        ):
            answer = client.get(path)
            assert answer.status_code in {400, 404}, (path, answer.text)
            refused(answer, answer.status_code, answer.json()["code"])


WORDS = st.sampled_from(
    [
        "name",
        "gates",
        "metric",
        "floor",
        "margin",
        "direction",
        "required",
        "ungated",
        "artifact",
        "reason",
        "artifact_uri",
        "target_ref",
        "federation_id",
        "metadata",
        "expected_seq",
        "dry_run",
        "again",
        "kind",
        "domain",
        "action",
        "params",
        "file_id",
        "model",
        "metrics",
        "trained_on",
        "reference",
        "watch",
        "state",
        "sha256",
        "seq",
    ]
)
SENSIBLE = st.sampled_from(
    (
        f"m m:prod m#active m@1 s3://x/y {'0' * 64} {uuid4()} events serving checkpoint accuracy "
        "Thunderline.Thundercrown.Domain promote_artifact rollback_artifact"
    ).split()
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | SENSIBLE
    | st.sampled_from([10**400, 2**63, -1, 0, 1e308]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
)
FORMS = st.sampled_from(
    [
        {"name": "n", "gates": {}},
        {"artifact": "m@1"},
        {"artifact": "m@1", "target_ref": "m:prod", "reason": "x"},
        {"target_ref": "m:prod", "reason": "x"},
        {"file_id": "0" * 64, "name": "a.pt", "model": "m", "metrics": {}, "metadata": {}},
        {"reference": "m:prod", "watch": "events", "state": "serving", "seq": 1},
        {"domain": "Thunderline.Thundercrown.Domain", "action": "promote_artifact", "params": {}},
    ]
)
TEXTS = st.text(max_size=20) | st.sampled_from(["a\0b", "\ud800", "\udfff\ud800", "x" * 70_000])
FREE = st.dictionaries(TEXTS, VALUES | TEXTS, max_size=3)
# Documents that go all the way to the rows, if nothing in them is refused.
ARTIFACTS = st.fixed_dictionaries(
    {
        "file_id": st.just(sha256(b"one").hexdigest()),
        "name": st.just("a.pt"),
        "metadata": FREE,
        "metrics": FREE,
    }
)
PROMOTIONS = st.fixed_dictionaries(
    {"artifact": st.just("m@1"), "target_ref": st.just("m:shadow"), "reason": TEXTS, "metadata": FREE}
)
BODIES = st.one_of(
    VALUES,
    ARTIFACTS,
    PROMOTIONS,
    st.builds(lambda form, more: {**form, **more}, FORMS, st.dictionaries(WORDS, VALUES | TEXTS, max_size=3)),
)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_no_json_whatever_makes_us_stumble(api: RunningApi) -> None:
    usual = ["POST /api/artifacts", "POST /api/promotions"] * 5  # where most of a document is kept
    with api.client() as client:
        register(client)
        push(client, b"one")

        @settings(
            max_examples=400,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(address=st.sampled_from([*sorted(writing()), *usual]), body=BODIES)
        def never_a_failure(address: str, body: object) -> None:
            method, path = address.split(" ")
            answer = client.request(method, path, content=json.dumps(body).encode())
            assert answer.status_code < 500, (address, body, answer.text)
            if answer.status_code >= 400:
                refused(answer, answer.status_code, answer.json()["code"])

        never_a_failure()


def test_a_route_that_declares_no_right_stops_the_start() -> None:
    app, router = FastAPI(openapi_url=None, docs_url=None, redoc_url=None), APIRouter()

    @router.get("/open")
    def forgotten() -> str:
        return "anybody's"

    app.include_router(router, prefix="/api")
    with pytest.raises(RuntimeError, match=r"declare no right: /api/open"):
        refuse_undeclared(app)


def test_a_right_that_is_unknown_stops_the_import() -> None:
    with pytest.raises(ValueError, match="unknown right files:everything"):
        needs("files:everything")
    assert right_of(object()) is None


def test_anybody_gets_a_description_that_holds_together(api: RunningApi) -> None:
    with httpx.Client(base_url=api.url) as client:
        told = done(client.get("/openapi.json"))
        page = client.get("/docs")
    assert str(told["openapi"]).startswith("3.")
    assert ("`" in page.text, "<code>multipart/form-data</code>" in page.text) == (False, True)
    paths = told["paths"]
    assert isinstance(paths, dict)
    documented = {route.path for route in routes(describe_app()) if route.is_documented}
    assert set(paths) == documented
    assert not re.findall(
        r'"\$ref": "#/components/schemas/(?!HTTPValidationError|ValidationError)', json.dumps(told)
    )
    for method, path in (("get", "/files/{file_id}"), ("head", "/files/{file_id}"), ("post", "/rpc/run")):
        assert paths[path][method]["security"] == [{"key": []}]
        assert paths[path][method]["x-thunderline-right"] in SCOPES
    assert "security" not in paths["/healthz"]["get"]
    assert "multipart/form-data" in paths["/files"]["post"]["requestBody"]["content"]
    promotion = paths["/api/promotions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"artifact_uri", "federation_id", "target_ref", "metadata", "reason"} <= set(
        promotion["properties"]
    )
    assert page.status_code == 200
    assert all(path in page.text for path in documented)

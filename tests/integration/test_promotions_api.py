"""Promotions over HTTP: as the source documents write them, all or nothing, and back again."""

import json
from hashlib import sha256
from uuid import UUID, uuid4

import httpx
import pytest

from tests.integration.pushing import damage, done, promote, promotion, push, refused, register
from tests.serving import RunningApi, wait_until
from thunderline.artifacts.records import record_artifact, record_file
from thunderline.registry.model import Gates
from thunderline.registry.records import ensure_model

FEDERATION = "01890a5d-ac96-774b-bcce-b302099a8057"
KEY = "federations/coop-chat-v2/checkpoints/global-ROUND-10.pt"
# As the source document writes it; only the word UUID is filled in.
PAYLOAD = """
{
  "domain": "Thunderline.Thundercrown.Domain",
  "action": "promote_artifact",
  "params": {
    "federation_id": "UUID",
    "artifact_uri": "s3://thunderline-artifacts/federations/coop-chat-v2/checkpoints/global-ROUND-10.pt",
    "target_ref": "coop-chat-v2:prod",
    "reason": "best_val_acc",
    "metadata": {"val_acc": 0.913}
  }
}
"""


def aggregate(api: RunningApi) -> str:
    """Let federation coop-chat-v2 have written its tenth round's model; return its digest."""
    parts = api.services
    stored = parts.store.put(b"round ten")
    uri = parts.store.publish("default", stored.digest, KEY)
    now = parts.clock.now()
    with parts.database.transaction("default") as connection:
        record_file(connection, stored=stored, content_type="x/y", actor="fl@default", at=now)
        record_artifact(
            connection,
            kind="checkpoint",
            uri=uri,
            sha256=stored.digest,
            size_bytes=stored.size_bytes,
            format="pt",
            metrics={"val_acc": 0.913},
            metadata={},
            actor="fl@default",
            at=now,
            federation_id=FEDERATION,
        )
        gates = Gates(is_ungated=True)
        ensure_model(connection, tenant="default", name="coop-chat-v2", gates=gates, actor="fl", at=now)
    return stored.digest


def world(api: RunningApi, client: httpx.Client) -> tuple[object, ...]:
    """All that a refusal must leave as it is."""
    wait_until(lambda: _is_settled(api))
    return (
        client.get("/api/models/m/history").json(),
        client.get("/api/models/m/references/prod").text,
        client.get("/api/events").json(),
        api.services.store.read_document("default", "models/m/latest.json"),
        api.services.store.read_document("default", "models/m/latest.safetensors"),
    )


def _is_settled(api: RunningApi) -> bool:
    with api.services.database.system() as connection:
        found = connection.execute("select count(*) from tl.outbox where position is null").fetchone()
    return found == (0,)


def test_the_documents_payload_is_taken_verbatim(api: RunningApi) -> None:
    digest = aggregate(api)
    store = api.services.store
    with api.client() as client:
        told = done(client.post("/rpc/run", content=PAYLOAD.replace('"UUID"', f'"{FEDERATION}"').encode()))
        assert (told["success"], told["action"]) == (True, "promote_artifact")
        data = told["data"]
        assert isinstance(data, dict)
        assert (data["status"], data["latest_published"]) == ("promoted", True)
        row = data["promotion"]
        assert (row["actor"], row["reason"], row["metadata"]) == (
            "admin@default",
            "best_val_acc",
            {"val_acc": 0.913},
        )
        assert (row["federation_id"], row["sha256"], row["stage"]) == (FEDERATION, digest, "active")
        assert row["at"].endswith("Z")
        assert store.read_document("default", "models/coop-chat-v2/latest.pt") == b"round ten"
        latest = json.loads(store.read_document("default", "models/coop-chat-v2/latest.json") or b"{}")
        assert (latest["sha256"], latest["seq"], latest["uri"]) == (digest, 1, row["artifact_uri"])
        wait_until(lambda: len(client.get("/api/events").json()) == 1)
        (event,) = client.get("/api/events").json()
        assert event["type"] == "fl.artifact.promoted"
        assert {
            "federation_id": FEDERATION,
            "artifact_uri": f"s3://thunderline-artifacts/{KEY}",
            "target_ref": "coop-chat-v2:prod",
            "sha256": digest,
        }.items() <= event["data"].items()


def test_calls_that_name_nothing_we_do_are_refused(api: RunningApi) -> None:
    with api.client() as client:
        call = json.loads(PAYLOAD)
        for change, field in (
            ({"domain": "Other.Domain"}, "domain"),
            ({"action": "delete_everything"}, "action"),
            ({"params": []}, "params"),
            ({"more": 1}, "more"),
        ):
            told = refused(client.post("/rpc/run", json={**call, **change}), 400, "INVALID_INPUT")
            assert told["field"] == field
        told = refused(client.post("/rpc/run", json=call), 400, "INVALID_INPUT")
        assert "'UUID' is not a UUID" in str(told["message"])


def test_a_rollback_by_call_needs_its_own_right(api: RunningApi) -> None:
    call = {
        "domain": "Thunderline.Thundercrown.Domain",
        "action": "rollback_artifact",
        "params": {"target_ref": "m:prod", "reason": "x"},
    }
    with api.client() as client:
        register(client)
        first = push(client, b"one")
        promote(client, first)
        promote(client, push(client, b"two"))
        with api.client(api.add_key("promotions:write")) as limited:
            refused(limited.post("/rpc/run", json=call), 403, "NOT_PERMITTED")
        data = done(client.post("/rpc/run", json=call))["data"]
        assert isinstance(data, dict)
        assert (data["status"], data["promotion"]["sha256"]) == ("rolled_back", first.sha256)


def test_each_of_the_documents_inputs_is_asked_for(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        whole = promotion(push(client, b"one"))
        for missing in ("federation_id", "artifact_uri", "target_ref", "reason"):
            form = {name: value for name, value in whole.items() if name != missing}
            told = refused(client.post("/api/promotions", json=form), 400, "INVALID_INPUT")
            assert told["field"] == missing
        for change, field in (
            ({"federation_id": ""}, "federation_id"),
            ({"federation_id": "x"}, "federation_id"),
            ({"artifact_uri": ""}, "artifact_uri"),
            ({"artifact_uri": "http://x/y"}, "artifact_uri"),
            ({"target_ref": "m"}, "target_ref"),
            ({"target_ref": "m#nowhere"}, "target_ref"),
            ({"target_ref": "m:latest"}, "target_ref"),
            ({"metadata": [1]}, "metadata"),
            ({"expected_seq": "1"}, "expected_seq"),
            ({"dry_run": 1}, "dry_run"),
            ({"artifact": "m@1"}, "artifact_uri"),
        ):
            told = refused(client.post("/api/promotions", json={**whole, **change}), 400, "INVALID_INPUT")
            assert told["field"] == field, change
        told = refused(
            client.post("/api/promotions", json={**whole, "federation_id": str(uuid4())}),
            400,
            "INVALID_INPUT",
        )
        assert "does not come from federation" in str(told["message"])
        refused(client.post("/api/promotions", json={**whole, "reason": "  "}), 409, "GATE_REFUSED")
        assert done(client.get("/api/models/m/history"))["history"] == []


def test_what_is_unknown_cannot_be_promoted(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        one = push(client, b"one")
        for change in (
            {"artifact_uri": f"{one.uri}x"},
            {"artifact_uri": "m@9"},
            {"artifact_uri": "0" * 64},
            {"artifact_uri": "m:shadow"},
            {"target_ref": "none:prod"},
        ):
            form = {**promotion(one), **change}
            refused(client.post("/api/promotions", json=form), 404, "NOT_FOUND")
        refused(client.get(f"/api/promotions/{uuid4()}"), 404, "NOT_FOUND")


def test_free_metadata_comes_back_unchanged(api: RunningApi) -> None:
    metadata = {"val_acc": 0.913, "nested": {"list": [1, None, True, "ü", 1e-7]}, "": ""}
    with api.client() as client:
        register(client)
        row = promote(client, push(client, b"one"), metadata=metadata)
        assert row["metadata"] == metadata
        assert done(client.get(f"/api/promotions/{row['id']}"))["metadata"] == metadata


def test_a_dry_run_is_the_plan_and_changes_nothing(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        promote(client, push(client, b"one", 0.9))
        worse = push(client, b"two", 0.7)
        before = world(api, client)
        told = done(client.post("/api/promotions", json=promotion(worse, dry_run=True)))
        again = done(client.post("/api/promotions", json=promotion(worse, dry_run=True)))
        assert told == again
        plan = told["plan"]
        assert isinstance(plan, dict)
        assert (told["status"], plan["allowed"], plan["changes_anything"]) == ("planned", False, True)
        assert (plan["before"]["seq"], plan["after"]["sha256"]) == (1, worse.sha256)
        assert [one["gate"] for one in plan["gates"] if not one["ok"]] == ["gate.metric"]
        told = refused(client.post("/api/promotions", json=promotion(worse)), 409, "GATE_REFUSED")
        assert told["gates"] == plan["gates"]
        assert world(api, client) == before
        undone = {"target_ref": "m:prod", "reason": "x", "dry_run": True}
        refused(client.post("/api/rollbacks", json=undone), 409, "CONFLICT")
        assert world(api, client) == before


def test_the_same_again_is_the_same_answer(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        one = push(client, b"one")
        row = promote(client, one)
        before = world(api, client)
        for form in (promotion(one), promotion(one, expected_seq=0), promotion(one, reason="else")):
            told = done(client.post("/api/promotions", json=form), 200)
            assert (told["status"], told["promotion"]) == ("unchanged", row)
        assert world(api, client) == before


def test_who_looked_before_another_moved_is_told_what_it_lost_to(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        one, two, three = (push(client, content) for content in (b"one", b"two", b"three"))
        row = promote(client, one, expected_seq=0)
        told = refused(
            client.post("/api/promotions", json=promotion(two, expected_seq=0)), 409, "STALE_STATE"
        )
        assert told["current"] == {
            "target_ref": "m:prod",
            "seq": 1,
            "version": 1,
            "sha256": one.sha256,
            "promotion_id": row["id"],
        }
        assert promote(client, two, expected_seq=1)["seq"] == 2
        refused(client.post("/api/promotions", json=promotion(three, expected_seq=7)), 409, "STALE_STATE")


def test_a_rollback_goes_back_and_once_more_only_when_said(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        made = [push(client, content) for content in (b"one", b"two", b"three")]
        for artifact in made:
            promote(client, artifact)
        back = {"target_ref": "m:prod", "reason": "it misbehaves"}
        planned = done(client.post("/api/rollbacks", json={**back, "dry_run": True}))["plan"]
        assert isinstance(planned, dict)
        assert planned["after"]["sha256"] == made[1].sha256
        told = done(client.post("/api/rollbacks", json=back), 201)
        row = told["promotion"]
        assert isinstance(row, dict)
        assert (told["status"], row["kind"], row["seq"]) == ("rolled_back", "rollback", 4)
        assert (row["sha256"], row["previous"]["sha256"]) == (made[1].sha256, made[2].sha256)
        again = done(client.post("/api/rollbacks", json=back), 200)
        assert (again["status"], again["promotion"]) == ("unchanged", row)
        further = done(client.post("/api/rollbacks", json={**back, "again": True}), 201)["promotion"]
        assert isinstance(further, dict)
        assert further["sha256"] == made[0].sha256
        refused(client.post("/api/rollbacks", json={**back, "again": True}), 409, "CONFLICT")
        forward = promote(client, made[2])  # to undo a rollback is to promote
        assert (forward["kind"], forward["seq"]) == ("promotion", 6)
        wait_until(lambda: len(client.get("/api/events").json()) == 6)
        events = [one["data"] for one in client.get("/api/events").json()]
        assert [one["artifact_uri"] for one in events[3:]] == [made[1].uri, made[0].uri, made[2].uri]
        assert [one["kind"] for one in events[3:]] == ["rollback", "rollback", "promotion"]
        assert api.services.store.read_document("default", "models/m/latest.safetensors") == b"three"


def test_a_rollback_of_what_never_was_is_refused(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        for target, status, code in (
            ("m:prod", 409, "CONFLICT"),
            ("none:prod", 404, "NOT_FOUND"),
            ("m", 400, "INVALID_INPUT"),
        ):
            form = {"target_ref": target, "reason": "x"}
            refused(client.post("/api/rollbacks", json=form), status, code)


@pytest.mark.parametrize("is_by_call", [False, True])
def test_one_flipped_byte_blocks_and_names_both_digests_and_nothing_changes(
    api: RunningApi, *, is_by_call: bool
) -> None:
    with api.client() as client:
        register(client)
        promote(client, push(client, b"one"))
        bad = push(client, b"two")
        before = world(api, client)
        damage(api, bad.uri, b"twO")
        if is_by_call:
            call = {
                "domain": "Thunderline.Thundercrown.Domain",
                "action": "promote_artifact",
                "params": promotion(bad),
            }
            answer = client.post("/rpc/run", json=call)
        else:
            answer = client.post("/api/promotions", json=promotion(bad))
        told = refused(answer, 422, "CHECKSUM_MISMATCH")
        read = sha256(b"twO").hexdigest()
        assert (told["recorded"], told["read"]) == (bad.sha256, read)
        assert bad.sha256 in str(told["message"])
        assert read in str(told["message"])
        assert world(api, client) == before


def test_bytes_that_are_gone_block_and_nothing_changes(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        promote(client, push(client, b"one"))
        gone = push(client, b"two")
        before = world(api, client)
        store = api.services.store
        store._blobs.delete(store._key_at("default", gone.uri))
        told = refused(client.post("/api/promotions", json=promotion(gone)), 422, "ARTIFACT")
        assert "is not in the store" in str(told["message"])
        assert world(api, client) == before


def test_another_tenants_artifact_cannot_be_promoted(api: RunningApi) -> None:
    with api.client() as mine, api.client(api.other_key) as other:
        register(mine)
        register(other)
        one = push(mine, b"one")
        promote(mine, one)
        for address in (one.uri, one.sha256, "m@1", "m:prod"):
            form = {**promotion(one), "artifact_uri": address}
            refused(other.post("/api/promotions", json=form), 404, "NOT_FOUND")
        row = promote(other, push(other, b"one"))
        assert UUID(str(row["id"]))
        assert (row["tenant"], row["seq"]) == ("other", 1)
        key = "models/m/latest.json"
        held = [api.services.store.read_document(tenant, key) for tenant in ("default", "other")]
        assert [json.loads(one or b"{}")["tenant"] for one in held] == ["default", "other"]

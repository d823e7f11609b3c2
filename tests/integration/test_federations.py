"""Federations over HTTP, run by the product's own driver and processes, against a real Postgres and store."""

import os
import random
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.federations import (
    Told,
    as_yaml,
    base_file,
    clients,
    digest_of,
    examples,
    plan,
    shard,
    spec_document,
)
from tests.serving import RunningApi, wait_until
from thunderline import process
from thunderline.artifacts.filesystem import FilesystemStore
from thunderline.artifacts.store import Store
from thunderline.canonical import sha256_hex
from thunderline.cli.client import Api
from thunderline.cli.federations import follow
from thunderline.clock import SystemClock
from thunderline.db.embedded import EmbeddedPostgres
from thunderline.errors import Unavailable
from thunderline.federation.checkpoint import read_arrays
from thunderline.federation.driver import Driver
from thunderline.federation.flower.in_process import run_in_process
from thunderline.federation.progress import Places
from thunderline.federation.records import Attempt, claim
from thunderline.federation.run import run_attempt
from thunderline.wiring import Services

SOURCE = str(Path(process.__file__).parents[1])
BUCKET = "thunderline-artifacts"
DATA = clients(4)
HELD_OUT = examples(120, seed=99)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the run processes find the store."""
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Store:
    """The store as those processes open it."""
    return Store(FilesystemStore(home / "objects" / BUCKET), bucket=BUCKET)


@dataclass
class Wing:
    """A running API and what a person does with federations over it."""

    client: httpx.Client
    services: Services

    def upload(self, content: bytes) -> str:
        return str(self.client.post("/files", content=content).json()["file_id"])

    def spec(self, name: str = "coop", **changed: object) -> bytes:
        document = spec_document(
            shards=[self.upload(shard(one)) for one in DATA.values()],
            base=self.upload(base_file()),
            validation=self.upload(shard(HELD_OUT)),
            name=name,
            **changed,
        )
        return as_yaml(document)

    def create(self, spec: bytes) -> dict[str, object]:
        answer = self.client.post("/api/federations", content=spec)
        assert answer.status_code == 201, answer.text
        found: dict[str, object] = answer.json()
        return found

    def act(self, name: str, action: str) -> httpx.Response:
        return self.client.post(f"/api/federations/{name}/{action}")

    def status(self, name: str) -> str:
        return str(self.client.get(f"/api/federations/{name}").json()["status"])

    def rounds(self, name: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.client.get(f"/api/federations/{name}/rounds").json()["rounds"]
        return found

    def completed(self, name: str) -> int:
        return len([one for one in self.rounds(name) if one["status"] == "completed"])

    def events(self, *types: str) -> list[dict[str, object]]:
        wanted = {"types": ",".join(types)} if types else {}
        found: list[dict[str, object]] = self.client.get("/api/events", params=wanted).json()
        return found

    def attempt(self) -> Attempt:
        with self.services.database.system() as connection:
            found = claim(connection, held=[])
        assert found is not None
        return found

    def run_here(self, attempt: Attempt | None = None) -> None:
        """Run what was started, in this process."""
        run_attempt(self.places, attempt or self.attempt(), is_told_to_end=lambda: False)

    @property
    def places(self) -> Places:
        return Places(self.services.database, self.services.store, self.services.clock)


@pytest.fixture
def wing(api: RunningApi) -> Iterator[Wing]:
    with api.client() as client:
        yield Wing(client, api.services)


@dataclass
class Starter:
    """Starts the product's own run processes and remembers them."""

    dsn: str
    home: Path
    log: Path

    def __post_init__(self) -> None:
        self.children: list[process.Child] = []
        self.more: dict[str, str] = {}

    def __call__(self, attempt: Attempt) -> process.Child:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": SOURCE,
            "DATABASE_URL": self.dsn,
            "THUNDERLINE_HOME": str(self.home),
            **self.more,
        }
        child = process.start(
            [
                sys.executable, "-m", "thunderline.cli.main", "serve", "federation",
                attempt.tenant, attempt.federation_id, str(attempt.attempt), "--parent", str(os.getpid()),
            ],
            log=self.log,
            environment=environment,
        )  # fmt: skip
        self.children.append(child)
        return child


@pytest.fixture
def starter(wing: Wing, home: Path, tmp_path: Path) -> Starter:
    return Starter(wing.services.database.dsn, home, tmp_path / "run.log")


@pytest.fixture
def driver(wing: Wing, starter: Starter) -> Iterator[Driver]:
    """The product's driver, in a thread, with real run processes."""
    made, stop = Driver(wing.services.database, SystemClock(), starter), Event()
    running = Thread(target=made.run, args=(stop,), daemon=True)
    running.start()
    yield made
    stop.set()
    running.join(timeout=30)


def by_one_run(rounds: int) -> str:
    """The digest of what an uninterrupted run without any platform gives."""
    told = Told()
    run_in_process(plan(DATA, rounds=rounds), told, DATA)
    return digest_of(told.results[-1].arrays)


def test_from_spec_to_artifact(wing: Wing, store: Store) -> None:
    made = wing.create(wing.spec())
    assert (made["status"], made["rounds_total"]) == ("created", 3)
    assert wing.act("coop", "start").json()["status"] == "running"
    wing.run_here()
    found = wing.client.get("/api/federations/coop").json()
    assert (found["status"], found["rounds_completed"]) == ("completed", 3)
    assert found["started_at"] < found["completed_at"]
    rounds = wing.rounds("coop")
    assert [(one["round_num"], one["status"]) for one in rounds] == [
        (number, "completed") for number in (1, 2, 3)
    ]
    artifacts = wing.client.get("/api/artifacts", params={"federation_id": str(made["id"])}).json()[
        "artifacts"
    ]
    uris = [one["uri"] for one in artifacts]
    folder = f"s3://{BUCKET}/federations/coop/checkpoints"
    assert uris == [f"{folder}/global-ROUND-{number}.safetensors" for number in (3, 2)]
    for one in artifacts:
        content = store.read_at("default", one["uri"])
        assert sha256_hex(content) == one["sha256"]
        assert len(content) == one["size_bytes"]
        assert set(read_arrays(content)) == {"w0", "b0", "w1", "b1"}
        assert one["round_id"] in [row["id"] for row in rounds]
    assert artifacts[0]["sha256"] == by_one_run(3)


def test_the_spec_is_kept_to_the_letter(wing: Wing) -> None:
    spec = b"# why we do this\n" + wing.spec()
    made = wing.create(spec)
    assert wing.client.get(f"/api/federations/{made['id']}").json()["spec_yaml"].encode() == spec


def test_events_tell_the_whole_story_in_order(wing: Wing) -> None:
    made = wing.create(wing.spec())
    wing.act("coop", "start")
    wing.run_here()
    wait_until(lambda: len(wing.events("fl.federation.completed")) == 1)
    told = [one for one in wing.events() if one["subject"] == f"federation/{made['id']}"]
    types = [one["type"] for one in told]
    a_round = ["fl.round.started", "fl.aggregate.completed", "fl.round.completed"]
    assert types == [
        "fl.federation.created",
        "fl.federation.started",
        *["fl.client.lease_issued", "fl.client.joined"] * 4,
        *a_round * 3,
        "fl.federation.completed",
    ]
    aggregate = [one["data"] for one in told if one["type"] == "fl.aggregate.completed"][1]
    assert isinstance(aggregate, dict)
    assert set(aggregate) == {"federation_id", "round_num", "artifact_uri", "sha256"}
    assert (
        aggregate["artifact_uri"] == f"s3://{BUCKET}/federations/coop/checkpoints/global-ROUND-2.safetensors"
    )


def leases(wing: Wing) -> list[tuple[object, object]]:
    listed = wing.client.get("/api/federations/coop/leases").json()["leases"]
    return sorted((one["client_id"], one["status"]) for one in listed)


def test_every_client_holds_a_lease_within_the_spec_and_completes_it(wing: Wing) -> None:
    constraints = {"lease": {"maxEpochs": 3, "maxTokens": 500, "ttlSeconds": 600}}
    made = wing.create(wing.spec(constraints=constraints))
    wing.act("coop", "start")
    wing.run_here()
    listed = wing.client.get("/api/federations/coop/leases").json()["leases"]
    assert leases(wing) == [(f"shard-{number}", "completed") for number in range(4)]
    one = listed[0]
    assert (one["epochs_max"], one["tokens_max"], one["manifest_uri"]) == (3, 500, None)
    assert one["federation_id"] == made["id"]
    began, ends = (datetime.fromisoformat(one[key]) for key in ("created_at", "lease_expires_at"))
    assert ends - began >= timedelta(seconds=600)  # renewed with each round
    wait_until(lambda: len(wing.events("fl.client.lease_issued")) == 4)
    issued = [one["data"] for one in wing.events("fl.client.lease_issued")]
    assert {one["lease_id"] for one in issued} == {one["id"] for one in listed}  # type: ignore[index]


def test_leases_of_an_attempt_that_died_expire_and_those_of_a_paused_one_are_released(wing: Wing) -> None:
    wing.create(wing.spec(rounds={"total": 4}))
    wing.act("coop", "start")
    dying = wing.attempt()

    def dies() -> bool:
        if wing.completed("coop") == 1:
            raise KeyboardInterrupt  # as sudden as a kill: nothing of ours runs any more
        return False

    with pytest.raises(KeyboardInterrupt):
        run_attempt(wing.places, dying, is_told_to_end=dies)
    assert leases(wing) == [(f"shard-{number}", "claimed") for number in range(4)]
    wait_until(lambda: _claimable(wing))

    def pauses() -> bool:
        if wing.completed("coop") == 2:
            wing.act("coop", "pause")
        return False

    run_attempt(wing.places, wing.attempt(), is_told_to_end=pauses)
    expected = [(f"shard-{number}", status) for number in range(4) for status in ("expired", "released")]
    assert leases(wing) == expected


def test_a_lease_that_allows_less_than_a_round_trains_is_refused(wing: Wing) -> None:
    spec = wing.spec(constraints={"lease": {"maxEpochs": 1}})
    answer = wing.client.post("/api/federations", content=spec)
    assert answer.status_code == 400
    assert answer.json()["field"] == "spec.constraints.lease.maxEpochs"
    assert "less than the 2 localEpochs" in answer.json()["message"]


def test_rollups_hold_the_figures_of_each_round(wing: Wing) -> None:
    wing.create(wing.spec())
    wing.act("coop", "start")
    wing.run_here()
    rollups = wing.client.get("/api/federations/coop/rollups").json()["rollups"]
    assert [one["aggregates_json"]["round_num"] for one in rollups] == [1, 2, 3]
    figures = rollups[-1]["aggregates_json"]["metrics"]
    assert figures["coverage"] == 1.0
    assert figures["examples"] == sum(len(one.y) for one in DATA.values())
    assert figures == wing.rounds("coop")[-1]["metrics_json"]


def test_lineage_goes_back_to_rounds_data_base_and_code(wing: Wing) -> None:
    made = wing.create(wing.spec())
    wing.act("coop", "start")
    wing.run_here()
    steps = wing.client.get("/api/lineage", params={"address": "coop@2"}).json()["ancestors"]
    found = [(one["relation"], one["kind"], one["id"]) for one in steps]
    assert ("part_of", "federation", made["id"]) in found
    assert found[0][:2] == ("produced_by", "round")
    trained_on = {one[2] for one in found if one[0] == "trained_on"}
    assert trained_on == {sha256_hex(shard(one)) for one in DATA.values()}
    assert ("started_from", "file", sha256_hex(base_file())) in found
    assert ("evaluated_on", "file", sha256_hex(shard(HELD_OUT))) in found
    assert any(relation == "run_by" and "flwr==1.41" in identity for relation, _, identity in found)


def test_candidates_are_listed_with_their_reasons_and_a_round_can_be_promoted(wing: Wing) -> None:
    gates = {"metric": {"metric": "accuracy", "floor": 0.1}}
    assert wing.client.post("/api/models", json={"name": "coop", "gates": gates}).status_code == 201
    made = wing.create(wing.spec())
    assert made["warnings"] == []
    wing.act("coop", "start")
    wing.run_here()
    listed = wing.client.get("/api/models/coop/candidates").json()["candidates"]
    assert {one["round_num"] for one in listed} == {2, 3}
    assert all(one["eligible"] and "accuracy" in one["reasons"][0] for one in listed)
    body = {
        "federation_id": made["id"],
        "artifact_uri": f"s3://{BUCKET}/federations/coop/checkpoints/global-ROUND-2.safetensors",
        "target_ref": "coop:prod",
        "reason": "good enough",
        "metadata": {"val_acc": 0.9},
    }
    assert wing.client.post("/api/promotions", json=body).status_code == 201


def test_a_new_model_without_a_floor_is_warned_of(wing: Wing) -> None:
    warnings = wing.create(wing.spec())["warnings"]
    assert isinstance(warnings, list)
    assert any("thunderline model register coop --metric accuracy --floor" in one for one in warnings)
    gates = {"metric": {"metric": "accuracy", "floor": 0.5}}
    assert wing.client.post("/api/models", json={"name": "coop", "gates": gates}).status_code == 201
    assert wing.client.get("/api/models/coop").json()["gates"]["metric"]["floor"] == 0.5


def test_a_dry_run_keeps_nothing(wing: Wing) -> None:
    answer = wing.client.post("/api/federations", params={"dry_run": "true"}, content=wing.spec())
    assert (answer.status_code, answer.json()["status"], answer.json()["clients"]) == (200, "valid", 4)
    assert wing.client.get("/api/federations").json()["federations"] == []
    assert wing.client.get("/api/models").json()["models"] == []
    assert wing.events() == []


def test_a_pause_takes_effect_after_a_round_and_resume_ends_where_an_uninterrupted_run_does(
    wing: Wing,
) -> None:
    wing.create(wing.spec(rounds={"total": 6}))
    wing.act("coop", "start")
    attempt = wing.attempt()

    def pause_after_two() -> bool:
        if wing.completed("coop") == 2:
            assert wing.act("coop", "pause").json()["status"] == "paused"
        return False

    run_attempt(wing.places, attempt, is_told_to_end=pause_after_two)
    assert (wing.status("coop"), wing.completed("coop")) == ("paused", 2)
    with wing.services.database.system() as connection:
        assert claim(connection, held=[]) is None
    assert wing.act("coop", "resume").json()["status"] == "running"
    wait_until(lambda: _claimable(wing))
    wing.run_here()
    assert wing.status("coop") == "completed"
    assert wing.rounds("coop")[-1]["checkpoint_sha256"] == by_one_run(6)


def test_figures_measured_on_other_data_are_no_match_for_the_champions(wing: Wing) -> None:
    gates = {"metric": {"metric": "accuracy", "floor": 0.0, "margin": 1.0}}
    assert wing.client.post("/api/models", json={"name": "m", "gates": gates}).status_code == 201
    for name, seed in (("one", 99), ("two", 98)):
        document = spec_document(
            shards=[wing.upload(shard(one)) for one in DATA.values()],
            base=wing.upload(base_file()),
            validation=wing.upload(shard(examples(60, seed=seed))),
            name=name,
            strategy={"name": "fedavg", "params": {"localEpochs": 2, "seed": seed}},
        )
        wing.create(as_yaml({**document, "metadata": {"name": name, "model": "m"}}))
        wing.act(name, "start")
        wing.run_here()

    def promote(version: int) -> httpx.Response:
        moving = {"artifact": f"m@{version}", "target_ref": "m:prod", "reason": "a test"}
        return wing.client.post("/api/promotions", json=moving)

    assert promote(1).status_code == 201
    assert promote(2).status_code == 201
    other = promote(4)
    assert (other.status_code, other.json()["code"]) == (409, "GATE_REFUSED")
    for seed in (99, 98):
        assert sha256_hex(shard(examples(60, seed=seed))) in other.json()["message"]


@pytest.mark.parametrize("action", ["pause", "stop"])
def test_a_round_of_a_federation_that_is_not_over_can_be_promoted(wing: Wing, action: str) -> None:
    gates = {"metric": {"metric": "accuracy", "floor": 0.0}}
    assert wing.client.post("/api/models", json={"name": "coop", "gates": gates}).status_code == 201
    made = wing.create(wing.spec(rounds={"total": 10}))
    wing.act("coop", "start")
    attempt = wing.attempt()

    def act_after_two() -> bool:
        if wing.completed("coop") == 2:
            wing.act("coop", action)
        return False

    run_attempt(wing.places, attempt, is_told_to_end=act_after_two)
    assert wing.status("coop") == {"pause": "paused", "stop": "failed"}[action]
    body = {
        "federation_id": made["id"],
        "artifact_uri": f"s3://{BUCKET}/federations/coop/checkpoints/global-ROUND-2.safetensors",
        "target_ref": "coop:prod",
        "reason": "good enough already",
    }
    assert wing.client.post("/api/promotions", json=body).status_code == 201


def _claimable(wing: Wing) -> bool:
    """A claim in a transaction that is rolled back."""
    with wing.services.database.system() as connection:
        found = claim(connection, held=[]) is not None
        connection.execute("rollback and chain")
    return found


def test_stopping_drops_the_round_in_progress_and_resume_goes_on(wing: Wing) -> None:
    wing.create(wing.spec(rounds={"total": 4}))
    wing.act("coop", "start")
    attempt = wing.attempt()
    asked = []

    def stop_in_round_three() -> bool:
        asked.append(None)
        return False

    class Stopping(SystemClock):
        """Stops the federation while its third round is in progress: the clock is asked as a round begins."""

        def __init__(self) -> None:
            self.is_done = False

        def now(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
            if len(asked) == 3 and not self.is_done:
                self.is_done = True
                assert wing.act("coop", "stop").json()["status"] == "failed"
            return super().now()

    run_attempt(replace(wing.places, clock=Stopping()), attempt, is_told_to_end=stop_in_round_three)
    assert (wing.status("coop"), wing.completed("coop")) == ("failed", 2)
    assert wing.client.get("/api/federations/coop").json()["message"] == "stopped by admin@default"
    assert wing.events("fl.federation.completed") == []
    wing.act("coop", "resume")
    wait_until(lambda: _claimable(wing))
    wing.run_here()
    assert (wing.status("coop"), wing.completed("coop")) == ("completed", 4)
    assert wing.rounds("coop")[-1]["checkpoint_sha256"] == by_one_run(4)


def test_an_action_that_makes_no_sense_is_a_conflict_that_says_what_does(wing: Wing) -> None:
    wing.create(wing.spec())
    answer = wing.act("coop", "pause")
    assert answer.status_code == 409
    assert "possible now: start, stop" in answer.json()["message"]
    assert wing.act("coop", "explode").status_code == 400
    assert wing.act("nobody", "start").status_code == 404


def test_repeating_an_action_changes_nothing(wing: Wing) -> None:
    wing.create(wing.spec())
    for _ in range(3):
        assert wing.act("coop", "start").json()["status"] == "running"
    wait_until(lambda: len(wing.events("fl.federation.started")) == 1)


def test_a_name_and_a_prefix_belong_to_one_federation(wing: Wing) -> None:
    wing.create(wing.spec())
    again = wing.client.post("/api/federations", content=wing.spec())
    assert again.status_code == 409
    assert "choose another name" in again.json()["message"]
    dry = wing.client.post("/api/federations", params={"dry_run": "true"}, content=wing.spec())
    assert (dry.status_code, dry.json()["message"]) == (409, again.json()["message"])
    artifacts = {"outputBucket": BUCKET, "prefix": "federations/coop"}
    same_prefix = wing.client.post("/api/federations", content=wing.spec("other", artifacts=artifacts))
    assert same_prefix.status_code == 409
    assert "federation coop writes below federations/coop" in same_prefix.json()["message"]
    assert len(wing.client.get("/api/federations").json()["federations"]) == 1


def test_inputs_that_are_not_there_are_refused_at_creation_with_their_path(wing: Wing) -> None:
    absent = "0" * 64
    document = spec_document(shards=[wing.upload(shard(DATA[0])), absent], base=wing.upload(base_file()))
    answer = wing.client.post("/api/federations", content=as_yaml(document))
    assert answer.status_code == 400
    assert answer.json()["field"] == "spec.datasetSpec.shards.1.uri"
    assert absent in answer.json()["message"]
    assert wing.client.get("/api/models").json()["models"] == []


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("s3://thunderline-artifacts/artifacts/none", "there is no object"),
        ("s3://elsewhere/a", "is not in the bucket"),
        ("s3://thunderline-artifacts/../../etc/passwd", "is no key"),
        ("s3://thunderline-artifacts/tenants/other/x", "is not in the bucket"),
        ("file:///etc/passwd", "cannot be read here"),
        ("http://169.254.169.254/latest", "cannot be read here"),
        ("sha256:nohex", "64 lowercase hex digits"),
        ("s3://thunderline-artifacts/cas", "not yours to read"),
        ("s3://thunderline-artifacts/.tmp", "not yours to read"),
        ("s3://thunderline-artifacts/federations", "there is no object"),  # a directory of the embedded store
        (f"s3://thunderline-artifacts/{'a' * 1000}", "there is no object"),
        (f"s3://thunderline-artifacts/{'a/' * 600}a", "is no key"),
        ("s3://thunderline-artifacts/a\nb", "is no key"),  # S3's client refuses it
    ],
)
def test_a_shard_may_only_be_a_file_or_an_object_of_the_tenant(wing: Wing, uri: str, told: str) -> None:
    base = wing.upload(base_file())
    wing.services.store.publish("default", base, "federations/earlier/base.safetensors")
    document = spec_document(
        shards=[], base=base, datasetSpec={"schema": "safetensors", "shards": [{"uri": uri}]}
    )
    answer = wing.client.post("/api/federations", content=as_yaml(document))
    assert answer.status_code == 400
    assert told in answer.json()["message"]


def test_another_tenants_files_are_as_absent(wing: Wing, api: RunningApi) -> None:
    with api.client(api.other_key) as other:
        theirs = str(other.post("/files", content=shard(DATA[0])).json()["file_id"])
    document = spec_document(shards=[theirs], base=wing.upload(base_file()))
    answer = wing.client.post("/api/federations", content=as_yaml(document))
    assert answer.status_code == 400
    assert "there is no file" in answer.json()["message"]
    by_place = {"shards": [{"uri": f"s3://{BUCKET}/cas/{theirs[:2]}/{theirs}"}]}
    refused = wing.client.post("/api/federations", content=wing.spec(datasetSpec=by_place))
    assert refused.status_code == 400
    wing.create(wing.spec())
    with api.client(api.other_key) as other:
        assert other.get("/api/federations").json()["federations"] == []
        assert other.get("/api/federations/coop").status_code == 404
        assert other.post("/api/federations/coop/start").status_code == 404


def test_a_shard_that_is_not_what_it_says_drops_its_client_and_the_others_go_on(wing: Wing) -> None:
    broken = wing.upload(b"this is no shard")
    shards = [wing.upload(shard(one)) for one in DATA.values()]
    wing.create(as_yaml(spec_document(shards=[*shards, broken], base=wing.upload(base_file()))))
    wing.act("coop", "start")
    wing.run_here()
    assert wing.status("coop") == "completed"
    wait_until(lambda: len(wing.events("fl.client.dropped")) == 1)
    (dropped,) = wing.events("fl.client.dropped")
    assert isinstance(dropped["data"], dict)
    assert dropped["data"]["client_id"] == "shard-4"
    assert "not a safetensors file" in str(dropped["data"]["reason"])


def test_a_shard_whose_bytes_were_changed_in_the_store_is_not_trained_on(wing: Wing, home: Path) -> None:
    wing.create(wing.spec())
    victim = sha256_hex(shard(DATA[1]))
    blob = home / "objects" / BUCKET / "cas" / victim[:2] / victim
    blob.chmod(0o640)
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    wing.act("coop", "start")
    wing.run_here()
    wait_until(lambda: len(wing.events("fl.client.dropped")) == 1)
    (dropped,) = wing.events("fl.client.dropped")
    assert victim in str(dropped["data"])
    assert wing.rounds("coop")[0]["metrics_json"]["clients"] == 3  # type: ignore[index]


def test_too_few_clients_fail_the_federation_with_a_sentence(wing: Wing) -> None:
    params = {"minAvailable": 9}
    wing.create(wing.spec(strategy={"name": "fedavg", "params": params}))
    wing.act("coop", "start")
    wing.run_here()
    found = wing.client.get("/api/federations/coop").json()
    assert found["status"] == "failed"
    assert "4 available, the spec asks for at least 9" in found["message"]
    wait_until(lambda: len(wing.events("fl.federation.failed")) == 1)


def test_a_base_model_that_is_no_network_fails_it_with_a_sentence(wing: Wing) -> None:
    document = spec_document(
        shards=[wing.upload(shard(DATA[0]))], base=wing.upload(shard(DATA[1]).replace(b"\n", b"\n"))
    )
    wing.create(as_yaml(document))
    wing.act("coop", "start")
    wing.run_here()
    assert wing.status("coop") == "failed"
    assert wing.client.get("/api/federations/coop").json()["message"]


def test_held_out_data_that_the_model_cannot_take_fails_it_with_a_sentence(wing: Wing) -> None:
    narrow = wing.upload(shard(replace(HELD_OUT, x=HELD_OUT.x[:, :4].copy())))
    beyond = wing.upload(shard(replace(HELD_OUT, y=HELD_OUT.y + 5)))
    base, data = wing.upload(base_file()), [wing.upload(shard(DATA[0]))]
    for name, held_out, told in (
        ("narrow", narrow, "has 4 inputs and classes up to 2"),
        ("beyond", beyond, "has 6 inputs and classes up to 7; the model takes 6 inputs and tells 3 classes"),
    ):
        wing.create(as_yaml(spec_document(shards=data, base=base, validation=held_out, name=name)))
        wing.act(name, "start")
        wing.run_here()
        found = wing.client.get(f"/api/federations/{name}").json()
        assert found["status"] == "failed"
        assert told in found["message"]


def test_watching_a_long_federation_that_is_over_tells_every_round(wing: Wing, api: RunningApi) -> None:
    made = wing.create(wing.spec(rounds={"total": 1200}))
    with wing.services.database.transaction("default") as connection:
        connection.execute(
            "insert into tl.fl_round (tenant_id, federation_id, round_num, status, started_at) "
            "select tl.tenant(), %s, number, 'completed', now() from generate_series(1, 1200) number",
            (made["id"],),
        )
    with closing(Api(api.url, api.key)) as over_http:
        told = [one["round_num"] for one in follow(over_http, "coop")]
    assert told == list(range(1, 1201))


def test_a_later_attempt_silences_an_earlier_one(wing: Wing) -> None:
    wing.create(wing.spec(rounds={"total": 4}))
    wing.act("coop", "start")
    first = wing.attempt()
    taken: list[Attempt] = []

    def take_over_after_two() -> bool:
        if wing.completed("coop") == 2 and not taken:
            wait_until(lambda: _claimable(wing))  # the first attempt gave no sign of life
            taken.append(wing.attempt())
        return False

    run_attempt(wing.places, first, is_told_to_end=take_over_after_two)
    assert wing.completed("coop") == 2
    wing.run_here(taken[0])
    assert wing.completed("coop") == 4
    assert wing.rounds("coop")[-1]["checkpoint_sha256"] == by_one_run(4)
    wait_until(lambda: len(wing.events("fl.round.completed")) == 4)


def test_of_many_claims_at_once_one_gets_the_federation(wing: Wing) -> None:
    wing.create(wing.spec())
    wing.act("coop", "start")

    def try_to_claim(_: int) -> Attempt | None:
        with wing.services.database.system() as connection:
            return claim(connection, held=[])

    with ThreadPoolExecutor(8) as pool:
        got = [one for one in pool.map(try_to_claim, range(16)) if one is not None]
    assert len(got) == 1


def test_an_orphaned_readable_key_of_a_dead_attempt_is_replaced(wing: Wing, store: Store) -> None:
    other = store.put(b"what a dead attempt wrote before its transaction ended")
    key = "federations/coop/checkpoints/global-ROUND-2.safetensors"
    store.replace("default", other.digest, key)
    wing.create(wing.spec())
    wing.act("coop", "start")
    wing.run_here()
    (row,) = [
        one
        for one in wing.client.get("/api/artifacts").json()["artifacts"]
        if one["uri"].endswith("global-ROUND-2.safetensors")
    ]
    assert store.digest_of("default", row["uri"]) == row["sha256"]


@pytest.mark.slow
def test_the_driver_runs_what_is_started_in_processes_of_their_own(wing: Wing, driver: Driver) -> None:
    del driver
    for name in ("one", "two", "three"):
        wing.create(wing.spec(name))
        wing.act(name, "start")
    wait_until(lambda: all(wing.status(name) == "completed" for name in ("one", "two", "three")), 90)
    digests = {wing.rounds(name)[-1]["checkpoint_sha256"] for name in ("one", "two", "three")}
    assert digests == {by_one_run(3)}


@pytest.mark.slow
def test_run_processes_killed_at_random_lose_and_double_nothing(
    wing: Wing, driver: Driver, starter: Starter
) -> None:
    del driver
    total, dice = 30, random.Random(4)
    wing.create(wing.spec(rounds={"total": total}, artifacts={"outputBucket": BUCKET, "everyRounds": 1}))
    wing.act("coop", "start")
    kills, seen = 0, 0
    while kills < 4:
        seen = wing.completed("coop")
        wait_until(lambda at=seen: wing.completed("coop") > at or wing.status("coop") != "running", 60)
        if wing.status("coop") != "running":
            break
        Event().wait(dice.random() * 0.05)
        os.kill(starter.children[-1].pid, signal.SIGKILL)
        kills += 1
        wait_until(lambda at=kills: len(starter.children) > at or wing.status("coop") != "running", 60)
    wait_until(lambda: wing.status("coop") == "completed", 120)
    assert kills >= 2
    rounds = wing.rounds("coop")
    assert [one["round_num"] for one in rounds] == list(range(1, total + 1))
    assert rounds[-1]["checkpoint_sha256"] == by_one_run(total)
    wait_until(lambda: len(wing.events("fl.federation.completed")) == 1)
    for kind in ("fl.round.started", "fl.aggregate.completed", "fl.round.completed"):
        told = [one["data"]["round_num"] for one in wing.events(kind)]  # type: ignore[index]
        assert told == list(range(1, total + 1))
    artifacts = wing.client.get("/api/artifacts", params={"limit": 1000}).json()["artifacts"]
    assert len(artifacts) == total
    for one in artifacts:
        assert wing.services.store.digest_of("default", one["uri"]) == one["sha256"]


@pytest.mark.slow
def test_a_process_that_keeps_dying_fails_the_federation_and_says_where_to_look(wing: Wing) -> None:
    wing.create(wing.spec())
    wing.act("coop", "start")

    def dies(attempt: Attempt) -> process.Child:
        del attempt
        return process.start([sys.executable, "-c", "raise SystemExit(9)"], log=Path(os.devnull))

    stop = Event()
    made = Driver(wing.services.database, SystemClock(), dies)
    running = Thread(target=made.run, args=(stop,), daemon=True)
    running.start()
    wait_until(lambda: wing.status("coop") == "failed", 60)
    stop.set()
    running.join(timeout=20)
    assert (
        "ended 5 times in a row, last with exit code 9"
        in wing.client.get("/api/federations/coop").json()["message"]
    )


@contextmanager
def away(postgres: EmbeddedPostgres, name: str) -> Iterator[None]:
    """Let a database take no connection, and cut those that it has."""
    allow = sql.SQL("alter database {} with allow_connections {}")
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        yield
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


@pytest.mark.slow
def test_one_death_is_one_however_long_postgres_is_away_then(
    wing: Wing, postgres: EmbeddedPostgres, database_name: str
) -> None:
    wing.create(wing.spec())
    wing.act("coop", "start")
    started: list[process.Child] = []

    def dies(attempt: Attempt) -> process.Child:
        del attempt
        started.append(process.start([sys.executable, "-c", "raise SystemExit(9)"], log=Path(os.devnull)))
        return started[-1]

    driver = Driver(wing.services.database, SystemClock(), dies)
    driver.step()
    wait_until(lambda: started[0].exit_code() == 9)
    with away(postgres, database_name):
        for _ in range(4):
            with pytest.raises(Unavailable):
                driver.step()
    driver.step()
    assert wing.status("coop") == "running"


@pytest.mark.slow
def test_a_process_that_cannot_be_started_is_tried_again(wing: Wing, starter: Starter) -> None:
    wing.create(wing.spec())
    wing.act("coop", "start")
    refusals = iter([OSError(28, "No space left on device")])

    def start(attempt: Attempt) -> process.Child:
        for one in refusals:
            raise one
        return starter(attempt)

    stop = Event()
    running = Thread(target=Driver(wing.services.database, SystemClock(), start).run, args=(stop,))
    running.start()
    wait_until(lambda: wing.status("coop") == "completed" or not running.is_alive(), 60)
    stop.set()
    running.join(timeout=30)
    assert wing.status("coop") == "completed"


def long_round(wing: Wing, timeout_s: float) -> bytes:
    """A spec whose only round trains for minutes."""
    strategy = {"name": "fedavg", "params": {"localEpochs": 10_000, "localBatchSize": 1}}
    return wing.spec(strategy=strategy, rounds={"total": 1, "timeoutSeconds": timeout_s})


@pytest.mark.slow
def test_a_stop_ends_the_process_in_the_middle_of_a_round_and_the_leases(
    wing: Wing, driver: Driver, starter: Starter
) -> None:
    del driver
    wing.create(long_round(wing, 600))
    wing.act("coop", "start")
    wait_until(lambda: bool(wing.rounds("coop")), 60)
    assert wing.act("coop", "stop").json()["status"] == "failed"
    assert leases(wing) == [(f"shard-{number}", "released") for number in range(4)]
    assert wing.act("coop", "resume").json()["status"] == "running"  # too soon for the process to notice
    wait_until(lambda: starter.children[0].exit_code() is not None, 30)
    wait_until(lambda: len(starter.children) == 2, 30)
    wait_until(lambda: wing.rounds("coop")[0]["status"] == "running", 30)
    wing.act("coop", "stop")


@pytest.mark.slow
def test_a_run_process_that_is_told_to_end_does_so_in_the_middle_of_a_round(
    wing: Wing, starter: Starter
) -> None:
    wing.create(long_round(wing, 600))
    wing.act("coop", "start")
    child = starter(wing.attempt())
    wait_until(lambda: bool(wing.rounds("coop")), 60)
    child.ask_to_end()  # as the kernel does when the driver dies
    wait_until(lambda: child.exit_code() is not None)
    assert child.exit_code() == Unavailable.exit


@pytest.mark.slow
def test_a_client_that_still_trains_keeps_no_process_alive(wing: Wing, starter: Starter) -> None:
    wing.create(long_round(wing, 0.5))
    wing.act("coop", "start")
    child = starter(wing.attempt())
    wait_until(lambda: wing.status("coop") == "failed", 60)
    assert "no reply in time" in wing.client.get("/api/federations/coop").json()["message"]
    wait_until(lambda: child.exit_code() is not None)
    assert child.exit_code() == 0


@pytest.mark.slow
def test_a_full_store_is_waited_for(wing: Wing, starter: Starter) -> None:
    wing.create(wing.spec())
    wing.act("coop", "start")
    starter.more["THUNDERLINE_STORE__KEEP_FREE_BYTES"] = str(2**60)
    child = starter(wing.attempt())
    wait_until(lambda: child.exit_code() is not None, 60)
    assert child.exit_code() == Unavailable.exit
    assert "must stay free" in starter.log.read_text()
    assert wing.status("coop") == "running"


@pytest.mark.slow
def test_a_store_that_goes_away_delays_the_federation_and_loses_nothing(
    wing: Wing, driver: Driver, home: Path
) -> None:
    del driver
    wing.create(wing.spec(rounds={"total": 40}))
    wing.act("coop", "start")
    wait_until(lambda: wing.completed("coop") >= 2, 60)
    objects, away = home / "objects", home / "objects-away"
    objects.rename(away)
    objects.write_text("the volume is not mounted")
    stands = wing.completed("coop")
    wait_until(lambda: (home.parent / "run.log").read_text().count("attempt_waits") >= 2, 60)
    assert wing.status("coop") == "running"
    assert wing.completed("coop") <= stands + 1
    objects.unlink()
    away.rename(objects)
    wait_until(lambda: wing.status("coop") == "completed", 90)
    assert wing.rounds("coop")[-1]["checkpoint_sha256"] == by_one_run(40)


def test_an_attempt_waits_for_an_outside_part_instead_of_failing(wing: Wing, home: Path) -> None:
    wing.create(wing.spec())
    wing.act("coop", "start")
    attempt = wing.attempt()
    objects, away = home / "objects", home / "objects-away"
    objects.rename(away)
    objects.write_text("the volume is not mounted")
    with pytest.raises(Unavailable):
        wing.run_here(attempt)
    objects.unlink()
    away.rename(objects)
    assert wing.status("coop") == "running"
    wing.run_here(attempt)
    assert wing.status("coop") == "completed"

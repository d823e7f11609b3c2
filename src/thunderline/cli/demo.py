"""``demo``: the main job, from spec to rollback, on real input, each step checked."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from thunderline.canonical import Json
from thunderline.cli.client import Api, Refused
from thunderline.cli.demo_fleet import Fleet
from thunderline.cli.demo_report import Facts, show_closing
from thunderline.cli.federations import follow, line_of
from thunderline.cli.output import say
from thunderline.errors import ThunderlineError
from thunderline.settings import load_settings

CLIENTS, ROUNDS, SEED = 10, 8, 7
MODEL = "digits"
REFERENCE = f"{MODEL}:prod"
_SPEC = """\
apiVersion: thunderline/v1
kind: FederationSpec
metadata: {{name: {model}}}
spec:
  modelRef: {{uri: "sha256:{base}", sha256: "{base}", format: safetensors}}
  strategy:
    name: fedavg
    params:
      {{clientFraction: 1.0, minAvailable: 8, localEpochs: 5, localBatchSize: 16, learningRate: 0.1,
       seed: {seed}}}
  rounds: {{total: {rounds}, timeoutSeconds: 60}}
  datasetSpec:
    schema: safetensors
    shards:
{shards}
    validation: {{uri: "sha256:{validation}", sha256: "{validation}"}}
  artifacts: {{outputBucket: thunderline-artifacts, prefix: federations/{model}, everyRounds: 2}}
"""


class Broken(ThunderlineError):
    """A step of the demo did not hold."""

    code, exit = "DEMO_BROKEN", 1


def demo(
    report: Annotated[Path, typer.Option(help="Where to write the facts as JSON.")] = Path(
        "demo-report.json"
    ),
    *,
    keep: Annotated[bool, typer.Option(help="Leave the platform's files and say where they are.")] = False,
) -> int:
    """Run the main job: federation, gate, promotion, two consumers under load, refusals, rollback.

    Example: thunderline demo --report demo-report.json
    """
    facts = Facts(started=time.time())
    home = Path(tempfile.mkdtemp(prefix="thunderline-demo-"))
    home.chmod(0o711)
    try:
        with _platform(home) as api:
            Story(api, home, facts).run()
    except ThunderlineError as error:
        facts.failed(str(error))
        say(f"this step did not hold: {error}")
    finally:
        facts.write(report)
        if keep:
            say(f"files: {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)
    show_closing(facts, report)
    return 0 if facts.holds else 1


@contextmanager
def _platform(home: Path) -> Iterator[Api]:
    say(f"1  start the platform in {home}")
    environment = _environment(home)
    command = [sys.executable, "-m", "thunderline.cli.main"]
    done = subprocess.run([*command, "up", "--detach", "--port", "0"], env=environment, check=False)
    try:
        if done.returncode != 0:
            raise Broken(f"`thunderline up --detach` ended with {done.returncode}; see {home}/logs")
        yield Api.from_settings(load_settings(environment).settings)
    finally:
        subprocess.run([*command, "down"], env=environment, check=False, stderr=subprocess.DEVNULL)


def _environment(home: Path) -> dict[str, str]:
    """Return this environment without any setting that would point the demo at another platform."""
    foreign = ("THUNDERLINE_", "MINIO_", "DATABASE_URL", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "THUNDERLINE_HOME": str(home)}


class Story:
    """The steps, in order; each fills in facts and raises when it does not hold."""

    def __init__(self, api: Api, home: Path, facts: Facts) -> None:
        self._api, self._home, self._facts = api, home, facts
        self._federation = ""
        self._spared: set[str] = set()  # digests that the story still needs

    def run(self) -> None:
        """Tell the whole story."""
        images = self._federate()
        first, better, worse = self._versions()
        self._promote(first, f"{MODEL}:shadow", "watch it without serving")
        self._promote(first, REFERENCE, "first model good enough")
        say("5  start two consumers under constant load: one by events, one by polling")
        with Fleet(self._api.url, self._home, REFERENCE, images) as fleet:
            self._adopted(fleet, first)
            self._better(fleet, better)
            self._refuse_tampered()
            self._refuse_worse(worse)
            self._roll_back(fleet, first)
            fleet.settle()
            self._count(fleet)
        self._verify()

    def _federate(self) -> Path:
        from thunderline.cli.demo_digits import load_digits, save_base, split

        say(f"2  deal handwritten digits unevenly (Dirichlet 0.3) to {CLIENTS} clients, upload the shards")
        work = self._home / "input"
        work.mkdir()
        shares, held_out = split(load_digits(), clients=CLIENTS, concentration=0.3, seed=SEED)
        files = [share.save(work / f"shard-{number:02}.safetensors") for number, share in enumerate(shares)]
        images = held_out.save(work / "held-out.safetensors")
        shards = [self._api.upload(file) for file in files]
        base, validation = (
            self._api.upload(save_base(work / "base.safetensors", seed=SEED)),
            self._api.upload(images),
        )
        listed = "\n".join(f'      - {{uri: "sha256:{one}", sha256: "{one}"}}' for one in shards)
        spec = _SPEC.format(
            model=MODEL, base=base, seed=SEED, rounds=ROUNDS, shards=listed, validation=validation
        )
        gates: Json = {"metric": {"metric": "accuracy", "floor": 0.8, "margin": 0.01}}
        self._api.post("/api/models", {"name": MODEL, "gates": gates})
        say(f"3  run the federation: {ROUNDS} rounds of FedAvg on Flower, a 64-32-10 network")
        created = self._api.post_content("/api/federations", spec.encode(), "application/yaml")
        self._federation = str(created["id"])
        self._api.post(f"/api/federations/{self._federation}/start", {})
        self._watch()
        return images

    def _watch(self) -> None:
        for one in follow(self._api, self._federation):
            self._facts.accuracy_by_round.append(_number(_mapping(one.get("metrics_json")).get("accuracy")))
            say(f"   {line_of(one)}")
        found = self._api.get(f"/api/federations/{self._federation}")
        if found.get("status") != "completed" or len(self._facts.accuracy_by_round) != ROUNDS:
            raise Broken(f"the federation is {found.get('status')}: {found.get('message')}")

    def _versions(self) -> tuple[int, int, int]:
        """Return a good version, the best, and a bad one, as numbered by the registry."""
        found = _rows(self._api.get(f"/api/models/{MODEL}/candidates"), "candidates")
        by_round = {int(_number(one.get("round_num"))): int(_number(one.get("version"))) for one in found}
        best = found[0]
        self._facts.candidates = len(found)
        by_digest = {int(_number(one.get("version"))): str(one["sha256"]) for one in found}
        say(
            f"4  candidates: {len(found)}, best {MODEL}@{best.get('version')} "
            f"with {best.get('metric')} {_number(best.get('value')):.3f}"
        )
        wanted = by_round[4], int(_number(best.get("version"))), by_round[2]
        self._spared = {by_digest[one] for one in wanted}
        return wanted

    def _promote(self, version: int, reference: str, reason: str) -> Mapping[str, Json]:
        started = time.perf_counter()
        answer = self._api.post(
            "/api/promotions", {"artifact": f"{MODEL}@{version}", "target_ref": reference, "reason": reason}
        )
        spent_ms = (time.perf_counter() - started) * 1000
        if answer.get("status") != "promoted":
            raise Broken(f"promoting {MODEL}@{version} to {reference} answered {answer.get('status')}")
        row = _mapping(answer.get("promotion"))
        self._facts.promote_ms.append(spent_ms)
        self._facts.promotions += 1
        self._facts.sha256, self._facts.served_version = str(row["sha256"]), version
        digest = str(row["sha256"])[:12]
        say(f"   {MODEL}@{version} -> {reference}  seq {row['seq']}  {spent_ms:.0f} ms  {digest}…")
        return row

    def _adopted(self, fleet: Fleet, version: int) -> None:
        reference = self._reference()
        for name, waited in fleet.wait_for(int(_number(reference["seq"]))).items():
            say(f"   consumer {name} serves {MODEL}@{version} ({waited.sha256[:16]}…)")
        self._facts.consumers = sorted(fleet.names)

    def _better(self, fleet: Fleet, version: int) -> None:
        say("6  promote a better version while both serve")
        row = self._promote(version, REFERENCE, "best accuracy so far")
        self._adoption(fleet, row)

    def _adoption(self, fleet: Fleet, row: Mapping[str, Json]) -> None:
        moment = _moment(str(row["at"]))
        for name, swapped in fleet.wait_for(int(_number(row["seq"]))).items():
            spent_ms = (swapped.at - moment) * 1000
            self._facts.adoption_ms.setdefault(name, []).append(spent_ms)
            if swapped.sha256 != row["sha256"]:
                raise Broken(f"consumer {name} swapped to {swapped.sha256}, not to {row['sha256']}")
            say(f"   consumer {name} swapped {spent_ms:.0f} ms after the promotion")

    def _refuse_tampered(self) -> None:
        say("7  flip one byte of an artifact in the store and try to promote it")
        found = _rows(self._api.get("/api/artifacts", federation_id=self._federation), "artifacts")
        victim = next(one for one in found if one["sha256"] not in self._spared)
        key = str(victim["uri"]).removeprefix("s3://")
        _flip_last_byte(self._home / "objects" / key)
        self._refused("CHECKSUM_MISMATCH", str(victim["uri"]))

    def _refuse_worse(self, version: int) -> None:
        say("8  try to promote a version that is worse than the one that serves")
        self._refused("GATE_REFUSED", f"{MODEL}@{version}")

    def _refused(self, code: str, address: str) -> None:
        before = self._world()
        try:
            self._api.post(
                "/api/promotions", {"artifact": address, "target_ref": REFERENCE, "reason": "must be refused"}
            )
        except Refused as refused:
            if refused.code != code:
                raise Broken(
                    f"{address} was refused with {refused.code}, expected {code}: {refused}"
                ) from refused
            if self._world() != before:
                raise Broken(f"the refusal of {address} changed something") from refused
            self._facts.refusals.append({"code": code, "message": str(refused)})
            say(f"   refused: {refused}")
            return
        raise Broken(f"{address} was promoted, but had to be refused with {code}")

    def _world(self) -> tuple[Mapping[str, Json], Json]:
        """Return what a refusal must leave as it is: the reference, and the number of history rows."""
        history = self._api.get(f"/api/models/{MODEL}/history")
        return self._reference(), history.get("chain")

    def _reference(self) -> Mapping[str, Json]:
        return self._api.get(f"/api/models/{MODEL}/references/prod")

    def _roll_back(self, fleet: Fleet, version: int) -> None:
        say("9  roll back in one command, without naming a version")
        started = time.perf_counter()
        answer = self._api.post("/api/rollbacks", {"target_ref": REFERENCE, "reason": "rehearsal"})
        self._facts.rollback_ms = (time.perf_counter() - started) * 1000
        row = _mapping(answer.get("promotion"))
        if answer.get("status") != "rolled_back" or row.get("version") != version:
            raise Broken(f"the rollback answered {answer.get('status')} with version {row.get('version')}")
        self._facts.rollbacks += 1
        self._facts.sha256, self._facts.served_version = str(row["sha256"]), version
        self._adoption(fleet, row)

    def _count(self, fleet: Fleet) -> None:
        for name, counts in fleet.counts().items():
            self._facts.requests_served += counts.served
            self._facts.requests_failed += counts.failed
            say(f"   consumer {name}: {counts.served} requests served, {counts.failed} failed")
            if counts.failed:
                raise Broken(f"consumer {name} failed {counts.failed} requests: {counts.problem}")
            if counts.served == 0:
                raise Broken(f"consumer {name} served nothing")

    def _verify(self) -> None:
        from thunderline.canonical import sha256_hex

        say("10 verify the history and the published copy")
        history = self._api.get(f"/api/models/{MODEL}/history")
        chain = _mapping(history.get("chain"))
        self._facts.history_rows, self._facts.chain_sound = (
            int(_number(chain["rows"])),
            chain["sound"] is True,
        )
        latest = (
            self._home / "objects/thunderline-artifacts/models" / MODEL / "latest.safetensors"
        ).read_bytes()
        self._facts.latest_bytes = len(latest)
        expected: list[tuple[str, Callable[[], bool]]] = [
            ("the chain is sound", lambda: self._facts.chain_sound),
            ("the history has as many rows as promotions and rollbacks were made",
             lambda: self._facts.history_rows == self._facts.promotions + self._facts.rollbacks),
            ("latest.safetensors hashes to what serves", lambda: sha256_hex(latest) == self._facts.sha256),
        ]  # fmt: skip
        for sentence, holds in expected:
            if not holds():
                raise Broken(f"not so: {sentence}")
            say(f"   {sentence}")


def _flip_last_byte(file: Path) -> None:
    file.chmod(0o640)
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        last = opened.read(1)[0]
        opened.seek(-1, os.SEEK_END)
        opened.write(bytes([last ^ 1]))


def _moment(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def _rows(answer: Mapping[str, Json], field: str) -> list[Mapping[str, Json]]:
    found = answer.get(field)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _mapping(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise Broken(f"expected an object, the API answered {value!r}")
    return value


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Broken(f"expected a number, the API answered {value!r}")
    return float(value)

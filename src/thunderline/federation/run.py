"""One attempt at a federation, in this process: read the inputs, run the rounds that are left."""

from collections.abc import Callable, Iterable
from importlib.metadata import version

from thunderline.clock import to_wire
from thunderline.errors import (
    ArtifactError,
    InvalidInput,
    NotFound,
    Superseded,
    ThunderlineError,
    Unavailable,
)
from thunderline.events.catalog import ClientDropped, ClientJoined, ClientLeaseIssued
from thunderline.events.outbox import append
from thunderline.federation.checkpoint import Examples, read_arrays, read_examples
from thunderline.federation.flower.in_process import run_in_process
from thunderline.federation.inputs import Input, base_of, read_input, shards_of, validation_of
from thunderline.federation.lease import expiry
from thunderline.federation.lifecycle import fail
from thunderline.federation.network import Arrays, depth_of
from thunderline.federation.progress import Places, RecordedProgress, client_id
from thunderline.federation.records import (
    Attempt,
    Round,
    end_leases,
    find_federation,
    hold,
    issue_lease,
    last_round,
    settle_lease,
)
from thunderline.federation.round import RunPlan
from thunderline.federation.spec import FederationSpec
from thunderline.federation.spec_document import parse_spec
from thunderline.registry.lineage import Edge
from thunderline.registry.records import add_edges
from thunderline.release import VERSION
from thunderline.telemetry import EventLog

_LOG = EventLog("federation.run")


def run_attempt(places: Places, attempt: Attempt, *, is_told_to_end: Callable[[], bool]) -> None:
    """Run a federation until it is done, paused, stopped or unable to go on; its rows tell which.

    Args:
        places: database, store, clock.
        attempt: as claimed.
        is_told_to_end: asked before each round.

    Raises:
        Unavailable: Postgres or the store is away; another attempt goes on after the last completed round.
    """
    try:
        _run(places, attempt, is_told_to_end)
        _leave(places, attempt)
    except Superseded as error:
        _LOG.warning("attempt_superseded", federation_id=attempt.federation_id, problem=str(error))
    except Unavailable:
        raise
    except ThunderlineError as error:
        _LOG.error("federation_failed", federation_id=attempt.federation_id, problem=str(error))
        _fail(places, attempt, str(error))


def _fail(places: Places, attempt: Attempt, reason: str) -> None:
    try:
        fail(places.database, attempt, reason, clock=places.clock)
    except Superseded as error:
        _LOG.warning("attempt_superseded", federation_id=attempt.federation_id, problem=str(error))


def _run(places: Places, attempt: Attempt, is_told_to_end: Callable[[], bool]) -> None:
    with places.database.transaction(attempt.tenant) as connection:
        federation = find_federation(connection, attempt.federation_id, is_id=True)
        done = last_round(connection, attempt.federation_id)
    spec = parse_spec(federation.spec_yaml.encode(), bucket=places.store.bucket)
    inputs = _Inputs(places, attempt.tenant)
    arrays = _starting_arrays(places, inputs, spec, done)
    held_out = _held_out(inputs, spec, arrays)
    first_round = done.round_num + 1 if done else 1
    clients, refused = inputs.clients(spec)
    _join(places, attempt, spec, first_round=first_round, clients=clients, refused=refused)
    with places.database.transaction(attempt.tenant) as connection:
        add_edges(connection, inputs.edges(federation.id), at=places.clock.now())
    plan = RunPlan(
        strategy=spec.strategy,
        first_round=first_round,
        last_round=spec.rounds,
        timeout_s=spec.timeout_s,
        arrays=arrays,
        examples={number: len(one.y) for number, one in clients.items()},
    )
    progress = RecordedProgress(
        places,
        attempt,
        federation,
        spec,
        held_out=held_out,
        evaluated_on=inputs.evaluated_on(),
        is_told_to_end=is_told_to_end,
    )
    run_in_process(plan, progress, clients)


def _starting_arrays(places: Places, inputs: "_Inputs", spec: FederationSpec, done: Round | None) -> Arrays:
    """Return the last checkpoint's arrays, or those of the model that the spec names."""
    base = read_arrays(inputs.read(base_of(spec)), spec.model_ref.format)
    depth_of(base)
    if done is None or done.checkpoint_sha256 is None:
        return base
    return read_arrays(places.store.read(done.checkpoint_sha256), spec.format)


def _held_out(inputs: "_Inputs", spec: FederationSpec, arrays: Arrays) -> Examples | None:
    """Return the data that every round is measured on, None when the spec names none."""
    named = validation_of(spec)
    if named is None:
        return None
    found = read_examples(inputs.read(named))
    takes, tells = len(arrays["w0"]), len(arrays[f"b{len(arrays) // 2 - 1}"])
    if found.x.shape[1] != takes or int(found.y.max()) >= tells:
        raise InvalidInput(
            "spec.datasetSpec.validation",
            f"has {found.x.shape[1]} inputs and classes up to {found.y.max()}; "
            f"the model takes {takes} inputs and tells {tells} classes",
        )
    return found


class _Inputs:
    """Reads what a spec names and remembers which bytes it was."""

    def __init__(self, places: Places, tenant: str) -> None:
        self._places, self._tenant = places, tenant
        self._read: list[tuple[str, str]] = []  # relation and digest

    def read(self, one: Input) -> bytes:
        """Return the bytes of an input, checked."""
        found = read_input(self._places.database, self._places.store, self._tenant, one)
        self._read.append((one.relation, found.sha256))
        return found.content

    def clients(self, spec: FederationSpec) -> tuple[dict[int, Examples], dict[int, str]]:
        """Return each client's examples by its number; and for each that cannot take part, why not."""
        found: dict[int, Examples] = {}
        refused: dict[int, str] = {}
        for number, one in enumerate(shards_of(spec)):
            try:
                found[number] = read_examples(self.read(one))
            except (ArtifactError, NotFound) as error:
                refused[number] = str(error)
        return found, refused

    def evaluated_on(self) -> str | None:
        """Return the digest of the held-out data, None when there is none."""
        return next((digest for relation, digest in self._read if relation == "evaluated_on"), None)

    def edges(self, federation_id: str) -> list[Edge]:
        """Return where the federation came from: its inputs, and the code that ran it."""
        code = f"thunderline=={VERSION} flwr=={version('flwr')} numpy=={version('numpy')}"
        return [
            *(Edge("federation", federation_id, named, "file", digest) for named, digest in self._read),
            Edge("federation", federation_id, "run_by", "code", code),
        ]


def _join(
    places: Places,
    attempt: Attempt,
    spec: FederationSpec,
    *,
    first_round: int,
    clients: Iterable[int],
    refused: dict[int, str],
) -> None:
    """Lease each client and tell, at the beginning of an attempt, which take part and which cannot."""
    now, identity = places.clock.now(), attempt.federation_id
    with places.database.transaction(attempt.tenant) as connection:
        hold(connection, attempt)
        end_leases(connection, identity, "expired")  # of an attempt that died
        for number in sorted([*clients, *refused]):
            name = client_id(number)
            lease = issue_lease(connection, attempt, name, spec, at=now)
            issued = ClientLeaseIssued(identity, name, lease, to_wire(expiry(spec, now)))
            append(connection, issued, at=now)
            reason = refused.get(number)
            settle_lease(connection, lease, "claimed" if reason is None else "released")
            joined = (
                ClientJoined(identity, name)
                if reason is None
                else ClientDropped(identity, name, first_round, reason)
            )
            append(connection, joined, at=now)
    _LOG.info("clients_joined", federation_id=identity, refused=len(refused))


def _leave(places: Places, attempt: Attempt) -> None:
    """Release what is still leased when an attempt ends before its federation does."""
    with places.database.transaction(attempt.tenant) as connection:
        hold(connection, attempt)
        end_leases(connection, attempt.federation_id, "released")

"""From created to completed: the acts on a federation, each with its event in the same transaction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from thunderline.artifacts.store import Store
from thunderline.clock import Clock
from thunderline.db.pool import Database
from thunderline.errors import InvalidInput
from thunderline.events.catalog import (
    Event,
    FederationCreated,
    FederationFailed,
    FederationPaused,
    FederationStarted,
)
from thunderline.events.outbox import append
from thunderline.federation.inputs import check_inputs
from thunderline.federation.records import (
    Attempt,
    Federation,
    add_federation,
    end_attempt,
    end_leases,
    find_federation,
    hold,
    lock_federation,
    refuse_taken,
    set_status,
)
from thunderline.federation.spec import FederationSpec, check_runnable
from thunderline.federation.spec_document import parse_spec
from thunderline.federation.status import decide_move
from thunderline.federation.strategies import installed
from thunderline.identity.principal import Principal
from thunderline.registry.model import Gates, MetricGate, better_direction
from thunderline.registry.records import ensure_model

_UNENDED = ("running", "paused")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A spec that can run; ``federation`` is None after a dry run."""

    spec: FederationSpec
    federation: Federation | None
    warnings: tuple[str, ...]


class Federations:
    """The acts on federations of every tenant."""

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        self._database, self._store, self._clock = database, store, clock

    def create(self, who: Principal, content: bytes, *, is_dry_run: bool = False) -> Accepted:
        """Accept a spec and keep it verbatim; its model is registered if it is new.

        Args:
            who: needs ``federations:write``.
            content: YAML or JSON, in either spelling.
            is_dry_run: check everything, keep nothing.

        Raises:
            InvalidInput: with the path of the first field that is wrong, missing or not available here.
            Conflict: its name or prefix is taken.

        Source:
            CONTRACTS 2.1; S3-35..43, S3-48.
        """
        who.require("federations:write")
        spec = parse_spec(content, bucket=self._store.bucket)
        check_runnable(spec, tenant=who.tenant, bucket=self._store.bucket)
        _check_strategy(spec)
        now = self._clock.now()
        with self._database.transaction(who.tenant) as connection:
            check_inputs(connection, self._store, who.tenant, spec)
            if is_dry_run:
                refuse_taken(connection, name=spec.name, prefix=spec.prefix)
                return Accepted(spec, None, spec.warnings)
            gates = Gates(MetricGate(spec.metric, better_direction(spec.metric), 0.0, None))
            model = ensure_model(
                connection, tenant=who.tenant, name=spec.model, gates=gates, actor=who.actor, at=now
            )
            made = add_federation(
                connection,
                name=spec.name,
                model=spec.model,
                spec_yaml=content.decode("utf-8"),
                prefix=spec.prefix,
                rounds=spec.rounds,
                actor=who.actor,
                at=now,
            )
            append(connection, FederationCreated(made.id, spec.name, spec.model, who.actor), at=now)
        return Accepted(spec, made, (*spec.warnings, *_gate_warnings(spec, model.gates)))

    def act(self, who: Principal, identity: str, action: str, *, is_dry_run: bool = False) -> Federation:
        """Start, pause, resume or stop a federation; repeating what already is so changes nothing.

        A pause takes effect after the round in progress; a stop does at once, and the round counts no more.

        Args:
            who: needs ``federations:write``.
            identity: id of the federation.
            action: one of ``status.ACTIONS``.
            is_dry_run: only say whether it would be allowed.

        Raises:
            NotFound: the tenant has no such federation.
            Conflict: its state does not allow the action.
        """
        who.require("federations:write")
        now = self._clock.now()
        with self._database.transaction(who.tenant) as connection:
            found = lock_federation(connection, identity)
            move = decide_move(found.name, found.status, action)
            if move.is_noop or is_dry_run:
                return found
            message = f"stopped by {who.actor}" if action == "stop" else ""
            if action == "stop":
                end_attempt(connection, found.id)
                end_leases(connection, found.id, "released")
            set_status(connection, found.id, move.status, message=message, at=now)
            append(connection, _EVENTS[action](found.id, who.actor), at=now)
            return find_federation(connection, found.id, is_id=True)


def _stopped(identity: str, actor: str) -> Event:
    return FederationFailed(identity, f"stopped by {actor}")


_EVENTS: Mapping[str, Callable[[str, str], Event]] = {
    "start": FederationStarted,
    "resume": FederationStarted,
    "pause": FederationPaused,
    "stop": _stopped,
}


def _check_strategy(spec: FederationSpec) -> None:
    known = installed()
    if spec.strategy.name == "custom" and spec.strategy.factory not in known:
        raise InvalidInput(
            "spec.strategy.params.factory",
            f"{spec.strategy.factory!r} is not installed; installed are {', '.join(known) or 'none'}",
        )


def _gate_warnings(spec: FederationSpec, gates: Gates) -> list[str]:
    rule = gates.metric
    if gates.is_ungated:
        return []
    if rule is None or rule.floor is None:
        told = (
            f"model {spec.model} has no floor for {rule.metric if rule else spec.metric}, so its "
            f"first promotion to {spec.model}:prod will be refused; set one before: "
            f"thunderline model register {spec.model} --metric {spec.metric} --floor NUMBER"
        )
        return [told]
    if rule.metric != spec.metric:
        return [f"model {spec.model} is judged by {rule.metric}, but this spec is about {spec.metric}"]
    return []


def fail(database: Database, attempt: Attempt, reason: str, *, clock: Clock) -> None:
    """End a federation that cannot go on.

    Args:
        database: the tenant's transaction is used.
        attempt: that could not go on; one that counts no more changes nothing.
        reason: a sentence; people read it in the federation's message and in the event.
        clock: when.

    Raises:
        Superseded: the attempt counts no more.
    """
    now = clock.now()
    with database.transaction(attempt.tenant) as connection:
        if hold(connection, attempt) in _UNENDED:
            end_leases(connection, attempt.federation_id, "released")
            set_status(connection, attempt.federation_id, "failed", message=reason, at=now)
            append(connection, FederationFailed(attempt.federation_id, reason), at=now)

"""Carry a promotion out: re-hash, then history, reference and event in one transaction, then publish."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import uuid4

from thunderline.artifacts.artifact import Artifact
from thunderline.artifacts.records import artifact_by_id
from thunderline.artifacts.store import Store
from thunderline.canonical import Json
from thunderline.clock import Clock
from thunderline.db.pool import Connected, Database
from thunderline.errors import ArtifactError, Conflict, InvalidInput, NotFound, Unavailable
from thunderline.events.outbox import append
from thunderline.identity.principal import Principal
from thunderline.promotion.entry import event_of, reference_of, row_of, stage_before
from thunderline.promotion.find import find_artifact
from thunderline.promotion.history import HistoryRow
from thunderline.promotion.latest import publish_latest
from thunderline.promotion.plan import Intent, Plan, Situation, plan_promotion, refusal, stale
from thunderline.promotion.records import append_row, history, labels_that_held, row_by_id
from thunderline.promotion.rollback import choose
from thunderline.promotion.stage import Address, Target
from thunderline.registry.model import Model
from thunderline.registry.records import (
    advance_head,
    find_reference,
    lock_model,
    model_named,
    register_version,
    set_reference,
    version_of_artifact,
)
from thunderline.telemetry import EventLog

_LOG = EventLog("promotion")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a promotion: the row that says so, or the plan alone after a dry run."""

    plan: Plan
    row: HistoryRow | None  # None: a dry run, or a reference that was never set
    is_published: bool  # False: the store is away; the relay publishes when it is back


class Promotions:
    """The acts on references. All or nothing: a refused or failed act leaves no row, event or reference."""

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        self._database, self._store, self._clock = database, store, clock

    def promote(
        self,
        principal: Principal,
        *,
        target: Target,
        address: Address,
        reason: str,
        metadata: Mapping[str, Json] | None = None,
        expected_seq: int | None = None,
        federation_id: str | None = None,
        is_dry_run: bool = False,
    ) -> Outcome:
        """Let a reference hold an artifact, if every gate agrees.

        Repeating a promotion that already stands changes nothing and gives the same answer.

        Args:
            principal: who asks; needs ``promotions:write``.
            target: the reference.
            address: the artifact.
            reason: why; kept for ever.
            metadata: free JSON, kept as it is.
            expected_seq: refuse unless the reference is still at this seq (0: empty).
            federation_id: when given, the artifact must come from this federation.
            is_dry_run: only plan.

        Raises:
            NotFound: no such model, artifact or version.
            StaleState: the reference moved; the error tells what it holds.
            ArtifactError: the bytes are missing or are not those recorded.
            GateRefused: a gate said no; the error lists every gate.

        Source:
            S0-22..31, S0-38, X-08; decision 4 of the requirements.
        """
        principal.require("promotions:write")
        intent = Intent(target, "promotion", principal.actor, reason, metadata or {}, expected_seq)
        with self._database.transaction(principal.tenant) as connection:
            model = model_named(connection, target.model)
            artifact = find_artifact(connection, address, model=target.model)
            if federation_id is not None and artifact.federation_id != federation_id:
                raise InvalidInput(
                    "federation_id",
                    f"{artifact.uri} does not come from federation {federation_id} "
                    f"but from {artifact.federation_id or 'none'}",
                )
            situation = self._situation(connection, intent, model, artifact)
            stands = plan_promotion(intent, situation).is_noop and not is_dry_run
            standing = self._standing(connection, intent, situation) if stands else None
        if standing is not None:
            return self._mended(principal.tenant, standing)
        return self._carry_out(principal.tenant, intent, situation, is_dry_run=is_dry_run)

    def rollback(
        self,
        principal: Principal,
        *,
        target: Target,
        reason: str,
        again: bool = False,
        is_dry_run: bool = False,
    ) -> Outcome:
        """Let a reference hold again what it held before; bytes that no longer verify are passed over.

        Args:
            principal: who asks; needs ``promotions:rollback``.
            target: the reference.
            reason: why.
            again: go one further back although the last move was a rollback already.
            is_dry_run: only plan.

        Raises:
            NotFound: no such model.
            Conflict: nothing to go back to.

        Source:
            S0-37..39; two operators who both roll back must not undo each other.
        """
        principal.require("promotions:rollback")
        intent = Intent(target, "rollback", principal.actor, reason, {})
        with self._database.transaction(principal.tenant) as connection:
            model = model_named(connection, target.model)
            choice = choose(history(connection, target.model, label=target.label))
            current = find_reference(connection, target.model, target.label)
            standing = None
            if choice.head_is_rollback and not again and current is not None:
                held = artifact_by_id(connection, current.artifact_id)
                standing = self._standing(
                    connection, intent, self._situation(connection, intent, model, held)
                )
            found = [artifact_by_id(connection, row.artifact_id) for row in choice.targets]
            situations = [self._situation(connection, intent, model, one) for one in found]
        if standing is not None:
            return self._mended(principal.tenant, standing)
        refused: list[str] = []
        for situation in situations:
            try:
                return self._carry_out(principal.tenant, intent, situation, is_dry_run=is_dry_run)
            except ArtifactError as error:
                refused.append(str(error))
        raise Conflict(
            f"{target.ref} has nothing to go back to: "
            + ("; ".join(refused) or "it never held anything else. Promote another version instead")
        )

    def _situation(
        self, connection: Connected, intent: Intent, model: Model, artifact: Artifact
    ) -> Situation:
        target = intent.target
        current = find_reference(connection, target.model, target.label)
        serving = current or find_reference(connection, target.model, "prod")
        version = version_of_artifact(connection, model=target.model, artifact_id=artifact.id)
        champion = artifact_by_id(connection, serving.artifact_id) if serving else None
        return Situation(
            model=model,
            artifact=artifact,
            version=version.version if version else None,
            current=current,
            champion=champion,
            champion_seq=serving.seq if serving else 0,
            from_stage=stage_before(labels_that_held(connection, target.model, artifact.sha256)),
            digest_read=None,
        )

    def _standing(self, connection: Connected, intent: Intent, situation: Situation) -> Outcome:
        """Answer for a reference that already is where it should be."""
        current = situation.current
        row = row_by_id(connection, current.promotion_id) if current else None
        return Outcome(plan_promotion(intent, situation), row, is_published=True)

    def _mended(self, tenant: str, standing: Outcome) -> Outcome:
        """Bring back a published copy that went missing, although the reference itself stays as it is."""
        return replace(standing, is_published=self._publish(tenant, standing.plan.intent.target))

    def _carry_out(self, tenant: str, intent: Intent, situation: Situation, *, is_dry_run: bool) -> Outcome:
        seen = replace(situation, digest_read=self._digest(tenant, situation.artifact))
        plan = plan_promotion(intent, seen)
        if is_dry_run:
            return Outcome(plan, None, is_published=True)
        refused = refusal(plan)
        if refused is not None:
            _LOG.warning(
                "promotion_refused",
                error_code=refused.code,
                tenant=tenant,
                target_ref=intent.target.ref,
                sha256=situation.artifact.sha256,
                digest_read=plan.situation.digest_read,
                actor=intent.actor,
            )
            raise refused
        done, row = self._apply(tenant, plan)
        return Outcome(done, row, is_published=self._publish(tenant, intent.target))

    def _digest(self, tenant: str, artifact: Artifact) -> str | None:
        try:
            return self._store.digest_of(tenant, artifact.uri)
        except NotFound:
            return None

    def _apply(self, tenant: str, plan: Plan) -> tuple[Plan, HistoryRow]:
        """Carry a plan out; when another writer was faster with the same bytes, nothing is left to do."""
        target, now = plan.intent.target, self._clock.now()
        with self._database.transaction(tenant) as connection:
            model = lock_model(connection, target.model)
            if model.gates != plan.situation.model.gates:
                raise Conflict(
                    f"the gates of model {model.name} were changed meanwhile; nothing was promoted, try again"
                )
            current = find_reference(connection, target.model, target.label)
            if current is not None and current.sha256 == plan.situation.artifact.sha256:
                return replace(plan, is_noop=True), row_by_id(connection, current.promotion_id)
            if (current.seq if current else 0) != plan.current_seq:
                raise stale(target, plan.current_seq, current)
            serving = current or find_reference(connection, target.model, "prod")
            if (serving.seq if serving else 0) != plan.situation.champion_seq:
                raise stale(Target(target.model, "prod", "active"), plan.situation.champion_seq, serving)
            version = register_version(
                connection,
                model=model.name,
                artifact=plan.situation.artifact,
                actor=plan.intent.actor,
                at=now,
            )
            row = row_of(
                plan, tenant=tenant, model=model, version=version.version, identity=str(uuid4()), at=now
            )
            append_row(connection, row)
            set_reference(connection, reference_of(row))
            advance_head(connection, model.name, seq=row.seq, head_hash=row.hash)
            append(connection, event_of(plan, row), at=now)  # last: it locks the subject until commit
        _LOG.info("artifact_promoted", tenant=tenant, target_ref=target.ref, seq=row.seq, sha256=row.sha256)
        return plan, row

    def _publish(self, tenant: str, target: Target) -> bool:
        try:
            publish_latest(self._database, self._store, tenant=tenant, model=target.model, label=target.label)
        except Unavailable as error:
            _LOG.warning("latest_not_published", tenant=tenant, target_ref=target.ref, problem=str(error))
            return False
        return True

"""``FederationSpec``: the value that the house works with, and the rules that need more than one field."""

from dataclasses import dataclass

from thunderline.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Shard:
    """One client's data, or the held-out part."""

    uri: str  # s3://bucket/key, or sha256:<hex> for a file of the Data Bank
    sha256: str | None


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where every client starts."""

    uri: str
    sha256: str | None
    format: str


@dataclass(frozen=True, slots=True)
class Strategy:
    """How rounds are run."""

    name: str  # fedavg, fedprox or custom
    client_fraction: float  # share of the clients asked per round, in (0, 1]
    min_available: int  # fewer usable replies fail a round
    local_epochs: int
    local_batch_size: int
    learning_rate: float
    prox_mu: float
    seed: int
    factory: str | None  # the installed strategy that ``custom`` names


@dataclass(frozen=True, slots=True)
class Cadence:
    """Which rounds publish an artifact; the last always does."""

    every_rounds: int  # 0: none but those listed and the last
    rounds: tuple[int, ...]

    def publishes(self, round_num: int, total: int) -> bool:
        """Tell whether a round publishes.

        >>> [number for number in range(1, 8) if Cadence(3, (1,)).publishes(number, 7)]
        [1, 3, 6, 7]
        """
        every = self.every_rounds > 0 and round_num % self.every_rounds == 0
        return every or round_num in self.rounds or round_num == total


@dataclass(frozen=True, slots=True)
class FederationSpec:
    """A federation as the house sees it: checked, never changed (CONTRACTS 2.1)."""

    name: str
    model: str
    tenant: str | None
    model_ref: ModelRef
    strategy: Strategy
    rounds: int
    timeout_s: float
    epsilon: float | None  # None: no differential privacy
    delta: float | None
    has_secure_aggregation: bool
    tags: tuple[str, ...]
    embedding_query: str
    schema: str
    shards: tuple[Shard, ...]
    validation: Shard | None
    bucket: str
    prefix: str
    cadence: Cadence
    format: str
    compression: str
    metric: str
    lease_max_epochs: int
    lease_max_tokens: int
    lease_ttl_s: int
    warnings: tuple[str, ...]


def check_runnable(spec: FederationSpec, *, tenant: str, bucket: str) -> None:
    """Refuse a valid spec that this platform cannot run as it is asked to; nothing is ignored in silence.

    Args:
        spec: parsed.
        tenant: of the caller.
        bucket: the configured one.

    Raises:
        InvalidInput: with the path of the field that asks for it.
    """
    refusals = [
        (
            spec.tenant not in (None, tenant),
            "metadata.tenant",
            f"is {spec.tenant!r}, but your key belongs to tenant {tenant!r}",
        ),
        (
            spec.bucket != bucket,
            "spec.artifacts.outputBucket",
            f"is {spec.bucket!r}, this platform writes to {bucket!r}; set MINIO_BUCKET or change the spec",
        ),
        (
            spec.epsilon is not None,
            "spec.privacy.dp.enabled",
            "is not available in this release; set it to false",
        ),
        (
            spec.has_secure_aggregation,
            "spec.privacy.secureAggregation.enabled",
            "is not available in this release; set it to false",
        ),
        (
            spec.compression != "none",
            "spec.compression",
            f"{spec.compression!r} is not available in this release; use none",
        ),
        (
            bool(spec.embedding_query),
            "spec.clientSelector.embeddingQuery",
            "is not available in this release; leave it empty",
        ),
        (
            spec.schema != "safetensors",
            "spec.datasetSpec.schema",
            f"{spec.schema!r} cannot be read by the in-process clients; use safetensors with tensors x and y",
        ),
        (
            spec.model_ref.format not in ("safetensors", "npz"),
            "spec.modelRef.format",
            f"{spec.model_ref.format!r} cannot be read by the in-process clients; use safetensors or npz",
        ),
        (not spec.shards, "spec.datasetSpec.shards", "needs at least one shard: each is one client's data"),
    ]
    for is_refused, field, problem in refusals:
        if is_refused:
            raise InvalidInput(field, problem)

"""The FederationSpec as people write it: both spellings, every rule, every refusal with its path."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from thunderline.document import parse_yaml
from thunderline.errors import InvalidInput
from thunderline.federation.spec import Cadence, FederationSpec, ModelRef, Shard, Strategy
from thunderline.federation.spec_flat import from_flat, is_flat
from thunderline.registry.model import parse_model_name

Fraction = Annotated[float, Field(gt=0, le=1)]
_LONGEST_PREFIX = 512  # with the tenant before and the file's name after it, a key has room for 1024
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=to_camel, allow_inf_nan=False, populate_by_name=False
    )


class _Metadata(_Part):
    name: str
    tenant: str | None = None
    model: str | None = None


class _ModelRef(_Part):
    uri: Annotated[str, Field(min_length=1)]
    sha256: Digest | None = None
    format: Literal["safetensors", "npz", "torch", "onnx"] = "safetensors"


class _Params(_Part):
    client_fraction: Fraction = 1.0
    min_available: Annotated[int, Field(ge=1, le=100_000)] = 1
    local_epochs: Annotated[int, Field(ge=1, le=10_000)] = 1
    local_batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    learning_rate: Annotated[float, Field(gt=0, le=1000)] = 0.1
    prox_mu: Annotated[float, Field(ge=0, le=1000)] = 0.0
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    factory: str | None = None


class _Strategy(_Part):
    name: Literal["fedavg", "fedprox", "custom"] = "fedavg"
    params: _Params = Field(default_factory=_Params)


class _Rounds(_Part):
    total: Annotated[int, Field(ge=1, le=100_000)]
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 180


class _Dp(_Part):
    enabled: bool = False
    epsilon: Annotated[float, Field(gt=0, le=1000)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None


class _SecureAggregation(_Part):
    enabled: bool = False


class _Privacy(_Part):
    dp: _Dp = Field(default_factory=_Dp)
    secure_aggregation: _SecureAggregation = Field(default_factory=_SecureAggregation)


class _Selector(_Part):
    tenant: str | None = None
    tags: list[str] = Field(default_factory=list)
    embedding_query: str = ""


class _Shard(_Part):
    uri: Annotated[str, Field(min_length=1)]
    sha256: Digest | None = None


class _Dataset(_Part):
    schema_: Annotated[str, Field(alias="schema")] = "safetensors"
    shards: Annotated[list[_Shard], Field(max_length=100_000)] = Field(default_factory=list)
    validation: _Shard | None = None


class _Artifacts(_Part):
    output_bucket: Annotated[str, Field(min_length=1)]
    prefix: str | None = None
    every_rounds: Annotated[int, Field(ge=0)] = 0
    rounds: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    format: Literal["safetensors", "npz"] = "safetensors"


class _Otlp(_Part):
    enabled: bool = False
    endpoint: str = ""
    headers: str = ""


class _Telemetry(_Part):
    otlp: _Otlp = Field(default_factory=_Otlp)


class _Lease(_Part):
    max_epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None  # by default what a round trains
    max_tokens: Annotated[int, Field(ge=1, le=2**53)] = 1_000_000
    ttl_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 1800


class _Constraints(_Part):
    lease: _Lease = Field(default_factory=_Lease)


class _Spec(_Part):
    model_ref: _ModelRef
    strategy: _Strategy = Field(default_factory=_Strategy)
    rounds: _Rounds
    privacy: _Privacy = Field(default_factory=_Privacy)
    client_selector: _Selector = Field(default_factory=_Selector)
    dataset_spec: _Dataset = Field(default_factory=_Dataset)
    artifacts: _Artifacts
    telemetry: _Telemetry = Field(default_factory=_Telemetry)
    constraints: _Constraints = Field(default_factory=_Constraints)
    compression: Literal["none", "quant8", "topk", "lora"] = "none"
    metric: Annotated[str, Field(pattern=r"\S", max_length=200)] = "accuracy"


class _Document(_Part):
    api_version: Literal["thunderline/v1", "thunderline.okocorp/v1"]
    kind: Literal["FederationSpec"]
    metadata: _Metadata
    spec: _Spec


def parse_spec(content: bytes, *, bucket: str = "thunderline-artifacts") -> FederationSpec:
    """Read a FederationSpec.

    Args:
        content: YAML (JSON is YAML), in either spelling.
        bucket: of a flat spec, which names none.

    Raises:
        InvalidInput: with the path of the first wrong field, and for an unknown key the nearest known one.

    Source:
        CONTRACTS 2.1; S3-35..42, S0-45.
    """
    document = parse_yaml(content, field="spec")
    if not isinstance(document, Mapping):
        raise InvalidInput("spec", "expected a mapping")
    if is_flat(document):
        document = from_flat(document, bucket=bucket)
    try:
        checked = _Document.model_validate(document)
    except ValidationError as error:
        wrong = error.errors()  # a misspelled key is told before the one that is missing because of it
        first = next((one for one in wrong if one["type"] == "extra_forbidden"), wrong[0])
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InvalidInput(where, _unknown(first["loc"])) from error
        given = first["input"] if isinstance(first["input"], str | int | float | bool) else None
        told = first["msg"] if given is None else f"{first['msg']}, got {given!r}"
        raise InvalidInput(where, told) from error
    return _value(checked)


def _unknown(path: tuple[int | str, ...]) -> str:
    known = _known(_Document, path[:-1])
    near = difflib.get_close_matches(str(path[-1]), known, 1, cutoff=0.5)
    return f"no such key; did you mean {near[0]}?" if near else f"no such key; known are {', '.join(known)}"


def _known(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are known at a path of the document."""
    for step in path:
        if isinstance(step, int):
            continue
        named = {field.alias or name: field for name, field in model.model_fields.items()}
        if step in named:
            model = _model_in(named[step].annotation) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _value(document: _Document) -> FederationSpec:
    spec, params, privacy = document.spec, document.spec.strategy.params, document.spec.privacy
    name = parse_model_name(document.metadata.name, "metadata.name")
    if privacy.dp.enabled and (privacy.dp.epsilon is None or privacy.dp.delta is None):
        raise InvalidInput("spec.privacy.dp", "enabled needs epsilon and delta")
    if spec.strategy.name == "custom" and not params.factory:
        raise InvalidInput("spec.strategy.params.factory", "custom needs the name of an installed strategy")
    allowed = spec.constraints.lease.max_epochs or params.local_epochs
    if allowed < params.local_epochs:
        raise InvalidInput(
            "spec.constraints.lease.maxEpochs",
            f"{allowed} is less than the {params.local_epochs} localEpochs that each round trains",
        )
    if (beyond := [one for one in spec.artifacts.rounds if one > spec.rounds.total]) != []:
        raise InvalidInput(
            "spec.artifacts.rounds", f"{beyond[0]} is beyond the last round {spec.rounds.total}"
        )
    return FederationSpec(
        name=name,
        model=parse_model_name(document.metadata.model or name, "metadata.model"),
        tenant=document.metadata.tenant or spec.client_selector.tenant,
        model_ref=ModelRef(spec.model_ref.uri, spec.model_ref.sha256, spec.model_ref.format),
        strategy=Strategy(
            name=spec.strategy.name,
            client_fraction=params.client_fraction,
            min_available=params.min_available,
            local_epochs=params.local_epochs,
            local_batch_size=params.local_batch_size,
            learning_rate=params.learning_rate,
            prox_mu=params.prox_mu,
            seed=params.seed,
            factory=params.factory,
        ),
        rounds=spec.rounds.total,
        timeout_s=spec.rounds.timeout_seconds,
        epsilon=privacy.dp.epsilon if privacy.dp.enabled else None,
        delta=privacy.dp.delta if privacy.dp.enabled else None,
        has_secure_aggregation=privacy.secure_aggregation.enabled,
        tags=tuple(spec.client_selector.tags),
        embedding_query=spec.client_selector.embedding_query,
        schema=spec.dataset_spec.schema_,
        shards=tuple(Shard(one.uri, one.sha256) for one in spec.dataset_spec.shards),
        validation=_shard(spec.dataset_spec.validation),
        bucket=spec.artifacts.output_bucket,
        prefix=_prefix(spec.artifacts.prefix, name),
        cadence=Cadence(spec.artifacts.every_rounds, tuple(spec.artifacts.rounds)),
        format=spec.artifacts.format,
        compression=spec.compression,
        metric=spec.metric,
        lease_max_epochs=allowed,
        lease_max_tokens=spec.constraints.lease.max_tokens,
        lease_ttl_s=spec.constraints.lease.ttl_seconds,
        warnings=_warnings(spec),
    )


def _shard(given: _Shard | None) -> Shard | None:
    return None if given is None else Shard(given.uri, given.sha256)


def _prefix(given: str | None, name: str) -> str:
    prefix = f"federations/{name}" if given is None else given.strip("/")
    if len(prefix) > _LONGEST_PREFIX:
        raise InvalidInput(
            "spec.artifacts.prefix", f"has {len(prefix)} characters; {_LONGEST_PREFIX} are allowed"
        )
    for part in prefix.split("/"):
        parse_model_name(part, "spec.artifacts.prefix")
    if prefix.split("/")[0] in {"cas", "models", "artifacts", "staging", "tenants"}:
        raise InvalidInput(
            "spec.artifacts.prefix", f"{prefix!r} begins with a name that the store keeps for itself"
        )
    return prefix


def _warnings(spec: _Spec) -> tuple[str, ...]:
    found = [
        f"spec.datasetSpec.shards.{number}: no sha256, so its bytes cannot be checked before training"
        for number, shard in enumerate(spec.dataset_spec.shards)
        if shard.sha256 is None and not shard.uri.startswith("sha256:")
    ]
    if spec.client_selector.tags:
        found.append("spec.clientSelector.tags: in-process clients carry no tags, so every shard takes part")
    if spec.telemetry.otlp.enabled:
        found.append("spec.telemetry.otlp: this release sends no spans; the rounds' figures are in the API")
    if spec.dataset_spec.validation is None:
        found.append("spec.datasetSpec.validation: absent, so rounds report the clients' own figures only")
    return tuple(found)

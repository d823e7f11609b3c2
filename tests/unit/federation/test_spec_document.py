"""The FederationSpec at the border: both spellings, every rule, every refusal with its path."""

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from tests.federations import as_yaml, spec_document
from thunderline.errors import InvalidInput
from thunderline.federation.spec import Cadence, FederationSpec, check_runnable
from thunderline.federation.spec_document import parse_spec

HEX = "ab" * 32
CONTRACT = f"""\
apiVersion: thunderline/v1            # thunderline.okocorp/v1 is accepted too
kind: FederationSpec
metadata: {{name: coop-chat-v2, tenant: pac-ops}}
spec:
  modelRef: {{uri: s3://thunderline-artifacts/models/coop-chat-v2/base.pt, sha256: "{HEX}", format: torch}}
  strategy:
    name: fedavg
    params: {{clientFraction: 0.2, minAvailable: 5, localEpochs: 1, localBatchSize: 32, learningRate: 5.0e-5,
             proxMu: 0.0}}
  rounds: {{total: 10, timeoutSeconds: 180}}
  privacy:
    dp: {{enabled: false, epsilon: 3.0, delta: 1.0e-5}}
    secureAggregation: {{enabled: false}}
  clientSelector: {{tenant: pac-ops, tags: [edge, region-us-east], embeddingQuery: ""}}
  datasetSpec: {{schema: parquet, shards: [{{uri: "s3://bucket/shard-000.parquet", sha256: "{HEX}"}}]}}
  artifacts: {{outputBucket: thunderline-artifacts, prefix: federations/coop-chat-v2}}
  telemetry: {{otlp: {{enabled: true, endpoint: "http://otel-collector:4317", headers: ""}}}}
  constraints: {{lease: {{maxEpochs: 1, maxTokens: 1000000, ttlSeconds: 1800}}}}
"""
FLAT = f"""\
name: coop
model_ref: sha256:{HEX}
strategy: fedprox
num_rounds: 4
client_fraction: 0.5
dp: {{epsilon: 3.0, delta: 1.0e-5}}
secure_agg: false
client_selector: {{tenant: ops, tags: [edge], embedding_query: ""}}
dataset_spec: {{uris: ["sha256:{HEX}"], hashes: ["{HEX}"], schema: safetensors}}
"""


def good() -> dict[str, object]:
    return spec_document(shards=[HEX], base=HEX, validation=HEX)


def changed(path: str, value: object) -> bytes:
    """The good document with one thing set, at a dotted path."""
    document: dict[str, object] = json.loads(json.dumps(good()))
    place: dict[str, object] | list[object] = document
    *steps, last = path.split(".")
    for step in steps:
        following = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        assert isinstance(following, dict | list)
        place = following
    assert isinstance(place, dict)
    place[last] = value
    return as_yaml(document)


def test_the_documented_spec_is_read_to_the_last_field() -> None:
    spec = parse_spec(CONTRACT.encode())
    assert (spec.name, spec.model, spec.tenant) == ("coop-chat-v2", "coop-chat-v2", "pac-ops")
    assert (spec.rounds, spec.timeout_s) == (10, 180)
    assert (spec.strategy.client_fraction, spec.strategy.min_available) == (0.2, 5)
    assert spec.strategy.learning_rate == 5.0e-5
    assert (spec.epsilon, spec.delta, spec.has_secure_aggregation) == (None, None, False)
    assert spec.tags == ("edge", "region-us-east")
    assert (spec.bucket, spec.prefix) == ("thunderline-artifacts", "federations/coop-chat-v2")
    assert (spec.lease_max_epochs, spec.lease_max_tokens, spec.lease_ttl_s) == (1, 1_000_000, 1800)
    assert spec.shards[0].sha256 == HEX


def test_the_other_api_version_is_the_same() -> None:
    other = CONTRACT.replace("apiVersion: thunderline/v1", "apiVersion: thunderline.okocorp/v1")
    assert parse_spec(other.encode()) == parse_spec(CONTRACT.encode())


def test_json_is_read_too() -> None:
    assert parse_spec(json.dumps(good()).encode()) == parse_spec(as_yaml(good()))


def test_the_flat_spelling_is_the_nested_one() -> None:
    spec = parse_spec(FLAT.encode(), bucket="here")
    assert (spec.name, spec.rounds, spec.bucket, spec.prefix) == ("coop", 4, "here", "federations/coop")
    assert (spec.strategy.name, spec.strategy.client_fraction) == ("fedprox", 0.5)
    assert (spec.epsilon, spec.delta) == (3.0, 1.0e-5)
    assert (spec.tenant, spec.tags) == ("ops", ("edge",))
    assert [(one.uri, one.sha256) for one in spec.shards] == [(f"sha256:{HEX}", HEX)]


def test_the_prefix_of_a_federation_is_its_name_unless_it_says_another() -> None:
    assert parse_spec(as_yaml(good())).prefix == "federations/coop"
    assert parse_spec(changed("spec.artifacts.prefix", "/teams/a/coop/")).prefix == "teams/a/coop"


REFUSALS = [
    ("spec.rounds.total", 0, "spec.rounds.total"),
    ("spec.rounds.total", -1, "spec.rounds.total"),
    ("spec.rounds.total", 2.5, "spec.rounds.total"),
    ("spec.rounds.total", "3", "spec.rounds.total"),
    ("spec.rounds.total", True, "spec.rounds.total"),
    ("spec.rounds.timeoutSeconds", 0, "spec.rounds.timeoutSeconds"),
    ("spec.strategy.name", "fedsgd", "spec.strategy.name"),
    ("spec.strategy.params.clientFraction", 0, "clientFraction"),
    ("spec.strategy.params.clientFraction", 1.01, "clientFraction"),
    ("spec.strategy.params.proxMu", -0.1, "proxMu"),
    ("spec.strategy.params.minAvailable", 0, "minAvailable"),
    ("spec.privacy", {"dp": {"enabled": True}}, "spec.privacy.dp: enabled needs epsilon and delta"),
    ("spec.privacy", {"dp": {"enabled": True, "epsilon": 1.0}}, "epsilon and delta"),
    ("spec.privacy", {"dp": {"enabled": True, "epsilon": 0.0, "delta": 0.1}}, "epsilon"),
    ("spec.privacy", {"dp": {"enabled": True, "epsilon": 1.0, "delta": 1.0}}, "delta"),
    ("spec.constraints", {"lease": {"ttlSeconds": 59}}, "spec.constraints.lease.ttlSeconds"),
    ("spec.datasetSpec.shards", [{"sha256": HEX}], "spec.datasetSpec.shards.0.uri"),
    ("spec.datasetSpec.shards", [{"uri": "sha256:x", "sha256": "nohex"}], "shards.0.sha256"),
    ("spec.artifacts", {"prefix": "p"}, "spec.artifacts.outputBucket"),
    ("spec.artifacts.rounds", [9], "9 is beyond the last round 3"),
    ("spec.artifacts.prefix", "../up", "spec.artifacts.prefix"),
    ("spec.artifacts.prefix", "a//b", "spec.artifacts.prefix"),
    ("spec.artifacts.prefix", "cas", "keeps for itself"),
    ("spec.artifacts.prefix", "models/x", "keeps for itself"),
    ("spec.artifacts.prefix", "staging/x", "keeps for itself"),
    ("spec.artifacts.prefix", "a/" * 300 + "a", "601 characters; 512 are allowed"),
    ("spec.metric", " ", "spec.metric"),
    ("spec.metric", "a" * 201, "spec.metric"),
    ("spec.artifacts.prefix", "tenants/other/federations/a", "keeps for itself"),
    ("spec.modelRef", {"uri": ""}, "spec.modelRef.uri"),
    ("spec.strategy", {"name": "custom"}, "custom needs the name of an installed strategy"),
    ("kind", "Federation", "kind"),
    ("apiVersion", "thunderline/v2", "apiVersion"),
    ("metadata.name", "a/b", "metadata.name"),
    ("metadata.name", "", "metadata.name"),
    ("metadata.name", "x" * 200, "metadata.name"),
    ("metadata.name", "..", "metadata.name"),
]


@pytest.mark.parametrize(("path", "value", "told"), REFUSALS)
def test_a_wrong_value_is_refused_with_its_path(path: str, value: object, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_spec(changed(path, value))
    assert told in str(refused.value)


UNKNOWN = [
    ("spec.strategy.params.clientFractoin", "did you mean clientFraction"),
    ("spec.strategy.params.client_fraction", "did you mean clientFraction"),
    ("spec.round", "did you mean rounds"),
    ("spec.rounds.totl", "did you mean total"),
    ("spec.artifacts.bucket", "did you mean outputBucket"),
    ("metadata.nam", "did you mean name"),
    ("Kind", "did you mean kind"),
    ("spec.datasetSpec.validation.hash", "known are uri, sha256"),
]


@pytest.mark.parametrize(("path", "told"), UNKNOWN)
def test_an_unknown_key_is_named_with_its_path_and_the_nearest_known_one(path: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_spec(changed(path, 1))
    assert str(refused.value).startswith(f"{path}: no such key")
    assert told in str(refused.value)


def test_a_misspelled_key_is_told_before_the_one_that_lacks_because_of_it() -> None:
    document = good()
    spec = document["spec"]
    assert isinstance(spec, dict)
    spec["ronds"] = spec.pop("rounds")
    with pytest.raises(InvalidInput, match=r"^spec\.ronds: no such key; did you mean rounds\?"):
        parse_spec(as_yaml(document))


def test_a_missing_part_is_named() -> None:
    document = good()
    spec = document["spec"]
    assert isinstance(spec, dict)
    del spec["rounds"]
    with pytest.raises(InvalidInput, match=r"spec\.rounds: Field required"):
        parse_spec(as_yaml(document))


HOSTILE = {
    "nothing": b"",
    "a list": b"[1, 2]",
    "a number": b"3",
    "broken": b"a: [1",
    "not utf-8": b"a: \xff\xfe",
    "a key twice": b"kind: a\nkind: b\n",
    "an alias": b"a: &x [1]\nb: *x\n",
    "a bomb of aliases": b"a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]\n",
    "a tag that makes objects": b"a: !!python/object/apply:os.system [ls]\n",
    "too deep": b"[" * 2000 + b"]" * 2000,
    "NaN": b"kind: .nan\n",
    "two documents": b"a: 1\n---\nb: 2\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_spec(HOSTILE[name])


@given(some.text(max_size=200) | some.binary(max_size=200).map(lambda one: one.decode("latin-1")))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_spec(text.encode("utf-8", "surrogatepass"))


VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    some.sampled_from(["spec", "spec.rounds", "spec.strategy", "metadata", "spec.datasetSpec.shards"]), VALUES
)
def test_any_part_may_be_anything_and_is_read_or_refused(path: str, value: object) -> None:
    try:
        spec = parse_spec(changed(path, value))
    except InvalidInput:
        return
    assert isinstance(spec, FederationSpec)


@pytest.mark.parametrize(
    ("break_flat", "told"),
    [
        (lambda one: {**one, "num_round": 3}, "num_round: no such key"),
        (lambda one: {**one, "num_rounds": 0}, "spec.rounds.total"),
        (lambda one: {**one, "client_fraction": 2}, "clientFraction"),
        (lambda one: {**one, "dp": {"epsilon": 1.0}}, "epsilon and delta"),
        (lambda one: {**one, "dataset_spec": {"uris": ["a", "b"], "hashes": [HEX]}}, "one hash for each"),
        (lambda one: {**one, "dataset_spec": []}, "dataset_spec: expected a mapping"),
        (lambda one: {**one, "strategy": 5}, "strategy: expected a mapping"),
        (lambda one: {key: one[key] for key in one if key != "num_rounds"}, "spec.rounds.total"),
    ],
)
def test_the_flat_spelling_is_as_strict(
    break_flat: Callable[[dict[str, object]], dict[str, object]], told: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_spec(yaml.safe_dump(break_flat(yaml.safe_load(FLAT))).encode())
    assert told in str(refused.value)


def test_an_absent_hash_is_warned_of() -> None:
    spec = parse_spec(changed("spec.datasetSpec.shards", [{"uri": "s3://thunderline-artifacts/a"}]))
    assert any("shards.0: no sha256" in one for one in spec.warnings)


NOT_HERE = [
    ("metadata.tenant", "other", "metadata.tenant: is 'other'"),
    ("spec.artifacts.outputBucket", "elsewhere", "set MINIO_BUCKET"),
    ("spec.privacy", {"dp": {"enabled": True, "epsilon": 1.0, "delta": 0.1}}, "spec.privacy.dp.enabled"),
    ("spec.privacy", {"secureAggregation": {"enabled": True}}, "spec.privacy.secureAggregation"),
    ("spec.compression", "quant8", "spec.compression"),
    ("spec.clientSelector", {"embeddingQuery": "near"}, "embeddingQuery"),
    ("spec.datasetSpec.schema", "parquet", "spec.datasetSpec.schema"),
    ("spec.datasetSpec.shards", [], "needs at least one shard"),
    ("spec.modelRef.format", "torch", "spec.modelRef.format"),
]


@pytest.mark.parametrize(("path", "value", "told"), NOT_HERE)
def test_what_cannot_be_done_here_is_refused_not_ignored(path: str, value: object, told: str) -> None:
    spec = parse_spec(changed(path, value))
    with pytest.raises(InvalidInput) as refused:
        check_runnable(spec, tenant="default", bucket="thunderline-artifacts")
    assert told in str(refused.value)


def test_the_good_spec_runs_here() -> None:
    check_runnable(parse_spec(as_yaml(good())), tenant="default", bucket="thunderline-artifacts")


def test_what_is_accepted_without_effect_is_said() -> None:
    tagged = parse_spec(changed("spec.clientSelector", {"tags": ["edge"]}))
    traced = parse_spec(changed("spec.telemetry", {"otlp": {"enabled": True, "endpoint": "http://a:4317"}}))
    assert any("clientSelector.tags" in one for one in tagged.warnings)
    assert any("telemetry.otlp" in one for one in traced.warnings)


@given(some.integers(0, 5), some.sets(some.integers(1, 12)), some.integers(1, 12))
def test_the_last_round_always_publishes_and_listed_ones_do(every: int, listed: set[int], total: int) -> None:
    cadence = Cadence(every, tuple(listed))
    published = {number for number in range(1, total + 1) if cadence.publishes(number, total)}
    expected = {number for number in listed if number <= total} | {total}
    if every:
        expected |= set(range(every, total + 1, every))
    assert published == expected

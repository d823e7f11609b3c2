"""lookup: how many look-ups does one CPU second of the API answer?"""

from dataclasses import dataclass

from benchmarks.answer import Figure, Peer, Target, percentile
from benchmarks.cost import cpu_seconds
from benchmarks.scratch import Caller, make_artifacts, running_platform
from thunderline.canonical import sha256_hex

ASKS = (
    "How many look-ups does one CPU second of the API answer, beside `/healthz`, which asks neither"
    " Postgres nor for a key?"
)
_MODEL = "found"
_CONTENT = b"the bytes that are looked for" * 100
_REFERENCE = f"/api/models/{_MODEL}/references/prod"


@dataclass(frozen=True, slots=True)
class _Kind:
    """One way to ask."""

    name: str
    path: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Run:
    """The same question, many times."""

    per_cpu_s: float
    p50_ms: float


def measure(*, quick: bool) -> list[Figure]:
    """Ask each kind of look-up, and ``/healthz``, in turn, several times."""
    count, repeats = (150, 2) if quick else (2000, 3)
    health = _Kind("/healthz", "/healthz", {})
    with running_platform() as platform:
        caller, api = platform.caller(), platform.pids()["api"]
        kinds = [health, *_kinds(caller)]
        for kind in kinds:
            _run(caller, api, kind, 20)  # connections, caches
        rounds = [{one.name: _run(caller, api, one, count) for one in kinds} for _ in range(repeats)]
        caller.close()
    figures = []
    for kind in kinds[1:]:
        figures += _figures(kind.name, [(one[kind.name], one[health.name]) for one in rounds])
    return figures


def _figures(name: str, runs: list[tuple[_Run, _Run]]) -> list[Figure]:
    per_s = Peer("/healthz", tuple(health.per_cpu_s for _, health in runs))
    p50 = Peer("/healthz", tuple(health.p50_ms for _, health in runs))
    return [
        Figure(
            name, "per CPU second", tuple(one.per_cpu_s for one, _ in runs), per_s, Target(250, is_least=True)
        ),
        Figure(f"{name}, p50", "ms", tuple(one.p50_ms for one, _ in runs), p50, Target(3, of_ratio=True)),
    ]


def _kinds(caller: Caller) -> list[_Kind]:
    (artifact,) = make_artifacts(caller, _MODEL, [_CONTENT])
    body = {"artifact": artifact["uri"], "target_ref": f"{_MODEL}:prod", "reason": "a benchmark"}
    caller.call("POST", "/api/promotions", body)
    reference = caller.document("GET", _REFERENCE)
    etag = f'"{reference["seq"]}-{reference["sha256"]}"'
    return [
        _Kind("reference", _REFERENCE, {}),
        _Kind("reference, 304", _REFERENCE, {"If-None-Match": etag}),
        _Kind("artifact by id", f"/api/artifacts/{artifact['id']}", {}),
        _Kind("artifact by address", f"/api/artifacts/resolve?address={_MODEL}%3Aprod", {}),
        _Kind("file pointer", f"/files/{sha256_hex(_CONTENT)}/info", {}),
    ]


def _run(caller: Caller, api: int, kind: _Kind, count: int) -> _Run:
    before = cpu_seconds(api)
    took_ms = [caller.timed("GET", kind.path, headers=kind.headers) for _ in range(count)]
    return _Run(count / (cpu_seconds(api) - before), percentile(took_ms, 0.5))

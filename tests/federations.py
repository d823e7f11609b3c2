"""Builders for federations: small data, specs, and clients that misbehave."""

from collections.abc import Mapping

import numpy as np
import yaml
from safetensors.numpy import save

from thunderline.canonical import sha256_hex
from thunderline.federation.checkpoint import Examples, write_arrays
from thunderline.federation.network import Arrays, Floats, init_network
from thunderline.federation.round import RoundResult, RunPlan
from thunderline.federation.spec import Strategy

SIZES = (6, 8, 3)


def examples(count: int, *, seed: int) -> Examples:
    """Points around three corners, each corner a class."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, count).astype(np.int64)
    x = np.eye(6, dtype=np.float32)[y] + random.normal(0, 0.3, (count, 6)).astype(np.float32)
    return Examples(x.astype(np.float32), y)


def clients(count: int = 4) -> dict[int, Examples]:
    """Clients of different sizes: 20, 30, 40, ... examples."""
    return {number: examples(20 + 10 * number, seed=number) for number in range(count)}


def shard(data: Examples) -> bytes:
    """The file that a client's data lies in."""
    return save({"x": data.x, "y": data.y})


def base_model(seed: int = 1) -> dict[str, Floats]:
    return init_network(SIZES, seed=seed)


def base_file(seed: int = 1) -> bytes:
    return write_arrays(base_model(seed), "safetensors")


def strategy(**changed: object) -> Strategy:
    given: dict[str, object] = {
        "name": "fedavg",
        "client_fraction": 1.0,
        "min_available": 1,
        "local_epochs": 2,
        "local_batch_size": 8,
        "learning_rate": 0.1,
        "prox_mu": 0.0,
        "seed": 5,
        "factory": None,
    }
    return Strategy(**{**given, **changed})  # type: ignore[arg-type]


def plan(data: Mapping[int, Examples], *, rounds: int = 3, first: int = 1, **changed: object) -> RunPlan:
    arrays = changed.pop("arrays", None)
    timeout_s = changed.pop("timeout_s", 30.0)
    assert isinstance(timeout_s, float)
    return RunPlan(
        strategy=strategy(**changed),
        first_round=first,
        last_round=rounds,
        timeout_s=timeout_s,
        arrays=arrays if isinstance(arrays, dict) else base_model(),
        examples={number: len(one.y) for number, one in data.items()},
    )


class Told:
    """Remembers what a run reports."""

    def __init__(self, held_out: Examples | None = None, stop_after: int | None = None) -> None:
        self.results: list[RoundResult] = []
        self.started: list[tuple[int, int]] = []
        self._held_out, self._stop_after = held_out, stop_after

    def may_go_on(self) -> bool:
        return self._stop_after is None or len(self.results) < self._stop_after

    def round_started(self, round_num: int, clients: int) -> None:
        self.started.append((round_num, clients))

    def evaluate(self, arrays: Arrays) -> Mapping[str, float]:
        from thunderline.federation.network import evaluate

        if self._held_out is None:
            return {}
        figures = evaluate(arrays, self._held_out.x, self._held_out.y)
        return {"accuracy": figures.accuracy, "loss": figures.loss}

    def round_completed(self, result: RoundResult) -> None:
        self.results.append(result)


def digest_of(arrays: Arrays) -> str:
    return sha256_hex(write_arrays(arrays, "safetensors"))


def spec_document(
    *, shards: list[str], base: str, validation: str | None = None, name: str = "coop", **changed: object
) -> dict[str, object]:
    """A spec in the nested spelling; ``changed`` replaces parts of ``spec``."""
    dataset: dict[str, object] = {
        "schema": "safetensors",
        "shards": [{"uri": f"sha256:{one}", "sha256": one} for one in shards],
    }
    if validation is not None:
        dataset["validation"] = {"uri": f"sha256:{validation}", "sha256": validation}
    spec: dict[str, object] = {
        "modelRef": {"uri": f"sha256:{base}", "sha256": base, "format": "safetensors"},
        "strategy": {
            "name": "fedavg",
            "params": {"localEpochs": 2, "localBatchSize": 8, "learningRate": 0.1, "seed": 5},
        },
        "rounds": {"total": 3, "timeoutSeconds": 30},
        "datasetSpec": dataset,
        "artifacts": {"outputBucket": "thunderline-artifacts", "everyRounds": 2},
        **changed,
    }
    return {
        "apiVersion": "thunderline/v1",
        "kind": "FederationSpec",
        "metadata": {"name": name},
        "spec": spec,
    }


def as_yaml(document: object) -> bytes:
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text.encode()

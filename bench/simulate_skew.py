"""Simulate the swarm's algorithm on MAGIC in one process, to choose defaults.

    python bench/simulate_skew.py --list
    python bench/simulate_skew.py base f32 --alpha 0.1 --seeds 5 --json out.json

Rounds are in lockstep and payloads arrive one or two rounds late; everything else is as in the
real swarm: the compiled round, fan-in, the remembered model of every peer, sample weights,
drift correction, and both vectors as i8 in blocks of 256. The algorithm is our own
reconstruction. What it does not show: real timing, lost messages, wire bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from learnae.learn import magic, partition, tabular
from learnae.learn.baseline import train_alone
from learnae.learn.batches import BatchSource
from learnae.learn.evaluation import evaluate
from learnae.learn.models import mlp
from learnae.learn.optimizers import make_optimizer, use_compilation_cache
from learnae.learn.rounds import make_round


@dataclass(frozen=True)
class Setting:
    peers: int = 5
    alpha: float = 0.5
    codec: str = "i8"
    fan_in: int = 2
    delays: tuple[int, ...] = (1, 2)
    rounds: int = 250
    steps: int = 20
    batch: int = 64
    rate: float = 1e-3
    optimizer: str = "adam"
    drift: bool = True
    moments: str = "keep"  # or reset
    weights: str = "samples"  # or equal, sqrt
    scaling: str = "global"  # or one (the first peer's), largest, own
    schedule: str = "constant"  # or cosine, or tail: linear over the last 30 %
    shift_scale: float = 1.0
    own_as_sent: bool = False
    late: bool = False
    away: tuple[float, int] | None = None  # (start as a part of the run, rounds)
    away_share: float = 0.0  # part of the peers away at any time, ten rounds at a stretch
    serve: bool = False  # after the last round all fetch from all, and merge once more
    min_samples: int = 64


VARIANTS: dict[str, dict[str, object]] = {
    "base": {},
    "f32": {"codec": "f32"},
    "no drift": {"drift": False},
    "half shift": {"shift_scale": 0.5},
    "scaled by one share": {"scaling": "one"},
    "scaled by largest": {"scaling": "largest"},
    "scaled each by own": {"scaling": "own"},
    "equal weights": {"weights": "equal"},
    "sqrt weights": {"weights": "sqrt"},
    "moments reset": {"moments": "reset"},
    "own as sent": {"own_as_sent": True},
    "late": {"peers": 6, "late": True},
    "away": {"away": (0.4, 40)},
    "late+away": {"peers": 6, "late": True, "away": (0.5, 40)},
    "late+away f32": {"peers": 6, "late": True, "away": (0.5, 40), "codec": "f32"},
    "away at end": {"away": (0.8, 40)},
    "cosine": {"schedule": "cosine"},
    "tail": {"schedule": "tail"},
    "late+away cosine": {"peers": 6, "late": True, "away": (0.5, 40), "schedule": "cosine"},
    "late+away tail": {"peers": 6, "late": True, "away": (0.5, 40), "schedule": "tail"},
    "batch 32": {"batch": 32},
    "batch 128": {"batch": 128},
    "batch 256": {"batch": 256},
    "rate 2e-3": {"rate": 2e-3},
    "rate 5e-4": {"rate": 5e-4},
    "adamw": {"optimizer": "adamw"},
    "sgd 0.1": {"optimizer": "sgd", "rate": 0.1},
    "momentum 0.03": {"optimizer": "momentum", "rate": 0.03},
    "fan-in 4": {"fan_in": 4},
    "no delay": {"delays": (0,)},
    "delay 4": {"delays": (3, 4, 5)},
    "10 x 500": {"steps": 10, "rounds": 500},
}


def as_sent(vector: np.ndarray, codec: str) -> np.ndarray:
    """Return what a receiver decodes."""
    if codec == "f32":
        return vector.copy()
    n = -(-len(vector) // 256) * 256
    groups = np.zeros(n, np.float32)
    groups[: len(vector)] = vector
    groups = groups.reshape(-1, 256)
    largest = np.abs(groups).max(axis=1, keepdims=True)
    scale = largest / np.float32(127)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(largest > 0, np.float32(127) / largest, np.float32(0))
    return (np.rint(groups * inverse) * scale).astype(np.float32).ravel()[: len(vector)]


_tables: dict[object, object] = {}
_rounds: dict[object, object] = {}
_alone: dict[object, object] = {}


def scaled(
    setting: Setting, seed: int
) -> tuple[list[tabular.Table], list[tabular.Table], tabular.Table]:
    """Return (share of each peer, test set of each peer, all training rows)."""
    key = (setting.peers, setting.alpha, setting.scaling, setting.min_samples, seed)
    if key in _tables:
        return _tables[key]
    everything = magic.read_magic()
    train, test = partition.split_test(everything.y, len(everything), 0.2, seed)
    shares = partition.dirichlet(
        everything.y[train], setting.peers, setting.alpha, seed, setting.min_samples
    )
    rows = [train[share] for share in shares]
    sources = {"global": [train], "one": [rows[0]], "own": rows}
    sources["largest"] = [max(rows, key=len)]
    stats_rows = sources[setting.scaling]
    choices = []
    for part in stats_rows:
        m = tabular.Moments.of(everything.x[part])
        choices.append(type("C", (), {"mean": tuple(m.mean), "std": tuple(m.std)}))

    def pick(i: int):
        return choices[min(i, len(choices) - 1)]

    own = [tabular.standardise(everything.take(r), pick(i))[0] for i, r in enumerate(rows)]
    tests = [tabular.standardise(everything.take(test), pick(i))[0] for i in range(len(rows))]
    central = tabular.standardise(everything.take(train), pick(0))[0]
    if setting.scaling != "global":  # what one machine with all data would have used
        m = tabular.Moments.of(everything.x[train])
        everyones = type("C", (), {"mean": tuple(m.mean), "std": tuple(m.std)})
        central = tabular.standardise(everything.take(train), everyones)[0]
    _tables[key] = (own, tests, central)
    return _tables[key]


def fns_of(setting: Setting):
    key = (setting.optimizer, setting.rate)
    if key not in _rounds:
        model = mlp(10, (64, 64), 2)
        optimizer = make_optimizer(*key)
        _rounds[key] = (model, make_round(model, optimizer, model.init(0)))
    return _rounds[key]


def baselines(setting: Setting, seed: int) -> tuple[list[float], float]:
    """Return accuracies (isolated peers, central) with the same number of steps each."""
    plain = Setting(peers=setting.peers, alpha=setting.alpha, min_samples=setting.min_samples)
    key = (plain, seed)
    if key not in _alone:
        model, fns = fns_of(plain)
        own, tests, central = scaled(plain, seed)

        def alone(table: tabular.Table, salt: int) -> float:
            training, seeds = _Training(plain), [seed, salt]
            return train_alone(
                model, table, training, seed, 5000, tests[0], fns=fns, batch_seed=seeds
            ).accuracy

        _alone[key] = ([alone(t, 100 + i) for i, t in enumerate(own)], alone(central, 99))
    return _alone[key]


@dataclass(frozen=True)
class _Training:
    setting: Setting
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    cooldown: float = 0.0
    batch: int = 64
    steps: int = 20


def rate_at(setting: Setting, t: int) -> float:
    part = t / setting.rounds
    if setting.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * part))
    if setting.schedule == "tail":
        return min(1.0, max(0.05, (1 - part) / 0.3))
    return 1.0


Send = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, ...]]


def swarm(setting: Setting, seed: int, senders: list[Send] | None = None) -> list[float]:
    """Return the accuracy of each peer's merged model after the last round.

    `senders` has for each peer the function from params, gradient and round, which is counted
    from 1, to what the others decode; by default the setting's codec.
    """
    codec = setting.codec
    senders = senders or [lambda p, g, _: (as_sent(p, codec), as_sent(g, codec))] * setting.peers
    model, fns = fns_of(setting)
    own, tests, _ = scaled(setting, seed)
    n, rng = setting.peers, np.random.default_rng([seed, 7])
    genesis = fns.layout.flatten(model.init(seed))
    params, states = [genesis.copy() for _ in range(n)], [fns.start() for _ in range(n)]
    gradients, shifts = [None] * n, [None] * n
    sources = [
        BatchSource(t, setting.batch, setting.steps, [seed, 10, i]) for i, t in enumerate(own)
    ]
    size = [float(len(t)) for t in own]
    if setting.weights == "equal":
        size = [1.0] * n
    elif setting.weights == "sqrt":
        size = [math.sqrt(s) for s in size]
    published: list[dict[int, tuple]] = [{} for _ in range(n)]
    remembered: list[dict[int, tuple]] = [{} for _ in range(n)]
    start = [0] * n
    if setting.late:
        start[-1] = setting.rounds // 3
    for t in range(setting.rounds):
        up = [t >= start[i] for i in range(n)]
        if setting.away:
            begin = int(setting.away[0] * setting.rounds)
            if begin <= t < begin + setting.away[1]:
                up[1] = False
        if setting.away_share:
            stretch = np.random.default_rng([seed, 8, t // 10])
            up = list(np.array(up) & (stretch.random(n) >= setting.away_share))
        for i in np.flatnonzero(up):
            if setting.late and i == n - 1 and t == start[i]:
                known = adopt(setting, i, t, published, remembered)
                total = sum(size[j] for j in known)
                mean = sum(known[j][1] * np.float32(size[j] / total) for j in sorted(known))
                params[i] = np.float32(mean)
            if setting.moments == "reset":
                states[i] = fns.start()
            out = fns.run(params[i], states[i], shifts[i], sources[i].next(), rate_at(setting, t))
            states[i] = out.state
            published[i][t] = senders[i](out.params, out.gradient, t + 1)
            published[i].pop(t - 12, None)
            params[i], gradients[i] = out.params, out.gradient
        for i in np.flatnonzero(up):
            fetch(setting, i, t, published, remembered, rng)
            merge(setting, i, params, gradients, shifts, published[i][t], remembered[i], size)
    if setting.serve:
        for i in range(n):
            adopt(setting, i, setting.rounds, published, remembered)
            own = published[i][newest(published[i], setting.rounds)]
            merge(setting, i, params, gradients, shifts, own, remembered[i], size)
    return [
        evaluate(fns, np.float32(p), test)["accuracy"]
        for p, test in zip(params, tests, strict=True)
    ]


def newest(published: dict[int, tuple], t: int) -> int:
    return max((r for r in published if r <= t), default=-1)


def fetch(setting, i, t, published, remembered, rng) -> None:
    fresh = []
    for j in range(setting.peers):
        r = newest(published[j], t - int(rng.choice(setting.delays)))
        if j != i and r >= 0 and remembered[i].get(j, (-1,))[0] < r:
            fresh.append((j, r))
    for k in rng.permutation(len(fresh))[: setting.fan_in]:
        j, r = fresh[k]
        remembered[i][j] = (r, *published[j][r])


def adopt(setting, i, t, published, remembered) -> dict[int, tuple]:
    """Fetch from everybody at once: a late joiner, or a peer that has done its rounds."""
    for j in range(setting.peers):
        r = newest(published[j], t - 1)
        if j != i and r >= 0:
            remembered[i][j] = (r, *published[j][r])
    return remembered[i]


def merge(setting, i, params, gradients, shifts, sent, known, size) -> None:
    total = size[i] + sum(size[j] for j in known)
    mean = params[i] * np.float32(size[i] / total)
    for j in sorted(known):
        mean = mean + known[j][1] * np.float32(size[j] / total)
    params[i] = mean
    if setting.drift:
        own = sent[1] if setting.own_as_sent else gradients[i]
        swarm_mean = own * np.float32(size[i] / total)
        for j in sorted(known):
            swarm_mean = swarm_mean + known[j][2] * np.float32(size[j] / total)
        shifts[i] = (swarm_mean - own) * np.float32(setting.shift_scale)


def study(setting: Setting, seeds: int) -> dict[str, object]:
    rows = []
    for seed in range(seeds):
        isolated, central = baselines(setting, seed)
        got = swarm(setting, seed)
        gap = central - statistics.mean(isolated)
        rows.append(
            {
                "seed": seed,
                "central": central,
                "isolated": isolated,
                "swarm": got,
                "mean": (statistics.mean(got) - statistics.mean(isolated)) / gap,
                "worst": (min(got) - min(isolated)) / (central - min(isolated)),
                "worst_vs_mean": (min(got) - statistics.mean(isolated)) / gap,
            }
        )

    def median(key: str) -> float:
        return statistics.median(row[key] for row in rows)

    return {
        "accuracy": statistics.median(statistics.mean(row["swarm"]) for row in rows),
        "accuracy_worst": statistics.median(min(row["swarm"]) for row in rows),
        "central": median("central"),
        "isolated": statistics.median(statistics.mean(row["isolated"]) for row in rows),
        **{key: median(key) for key in ("mean", "worst", "worst_vs_mean")},
        "lowest_mean": min(row["mean"] for row in rows),
        "lowest_worst": min(row["worst"] for row in rows),
        "seeds": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", default=["base"])
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.5, 0.1])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peers", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--cache", type=Path, help="folder for compiled functions")
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{name:20} {change}" for name, change in VARIANTS.items()))
        return
    if args.cache:
        use_compilation_cache(args.cache)
    print("medians over seeds; gap closed of the mean peer, of the worst peer (against the worst")
    print("isolated peer), and of the worst peer against the mean isolated peer")
    columns = "alpha  central isolated  swarm  worst |  mean  worst  w/mean | lowest     s"
    print(f"{'variant':20} {columns}")
    results = []
    for alpha in args.alpha:
        for name in args.variants:
            setting = replace(Setting(alpha=alpha), **VARIANTS[name])
            if args.peers:
                setting = replace(setting, peers=args.peers)
            began = time.perf_counter()
            got = study(setting, args.seeds)
            took = time.perf_counter() - began
            print(
                f"{name:20} {alpha:5} {got['central']:8.4f} {got['isolated']:8.4f} "
                f"{got['accuracy']:.4f} {got['accuracy_worst']:.4f} | {got['mean']:.3f} "
                f"{got['worst']:.3f}  {got['worst_vs_mean']:.3f} | {got['lowest_mean']:.3f} "
                f"{got['lowest_worst']:.3f} {took:.0f}",
                flush=True,
            )
            results.append({"variant": name, "alpha": alpha, **got})
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

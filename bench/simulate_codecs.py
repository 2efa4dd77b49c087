"""Simulate a swarm on MAGIC with each codec, to choose the defaults of chains of differences.

    python bench/simulate_codecs.py
    python bench/simulate_codecs.py --codec topk --key-every 10 25 --density 0.01 0.05

The sending side is the swarm's own, down to the bytes; the rest is as in `simulate_skew.py`. Two
swarms: in the *calm* one payloads arrive two rounds late, and after the last round everybody
fetches from everybody; in the *rough* one 30 % of the peers are away at any time and nothing
follows the last round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from simulate_skew import Setting, fns_of, swarm

from learnae import kernels
from learnae.node.chains import Sender
from learnae.node.contribution import Contribution
from learnae.payload import Schema
from learnae.swarm.charter import CODECS, Charter, GossipSection
from learnae.transports import cid_of

SWARMS = {"calm": {"serve": True}, "rough": {"away_share": 0.3}}


class Sending:
    """One peer's sending side; counts its bytes."""

    def __init__(self, charter: Charter, schema: Schema) -> None:
        self.nbytes = 0
        self._sender, self._schema = Sender(charter, schema), schema

    def __call__(self, params: np.ndarray, gradient: np.ndarray, number: int):
        payload = self._sender.encode(params, gradient)
        draft = self._sender.draft(Contribution(payload, number, 1, None))
        self._sender.sent(draft, cid_of(draft.payload))
        self.nbytes += len(draft.payload)
        whole = draft.view or kernels.payload_open(draft.payload, self._schema.n_elements)
        return tuple(kernels.payload_decode(whole, v) for v in range(2))


def measure(setting: Setting, gossip: GossipSection, seeds: int) -> dict[str, float]:
    """Return medians over seeds."""
    charter, schema = Charter(name="codecs", gossip=gossip), Schema.of(fns_of(setting)[0].init(0))
    rows = []
    for seed in range(seeds):
        senders = [Sending(charter, schema) for _ in range(setting.peers)]
        got = swarm(setting, seed, senders)
        rows.append((statistics.mean(got), min(got), statistics.mean(s.nbytes for s in senders)))
    mean, worst, nbytes = (statistics.median(column) for column in zip(*rows, strict=True))
    return {"mean": mean, "worst": worst, "lowest": min(r[1] for r in rows), "nbytes": nbytes}


def settings_of(args: argparse.Namespace, codec: str) -> list[GossipSection]:
    """Return what is to be tried of one codec."""
    plain = GossipSection(codec=codec)
    if not plain.is_chained:
        return [plain]
    chained = [replace(plain, key_every=n, key_codec=args.key_codec) for n in args.key_every]
    if codec != "topk":
        return chained
    return [replace(gossip, density=d) for gossip in chained for d in args.density]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codec", nargs="+", default=CODECS, choices=CODECS)
    parser.add_argument("--key-codec", default="i8")
    parser.add_argument("--key-every", type=int, nargs="+", default=[10])
    parser.add_argument("--density", type=float, nargs="+", default=[0.01])
    parser.add_argument("--swarm", nargs="+", default=list(SWARMS), choices=SWARMS)
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.5, 0.1])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--own-as-sent", action="store_true", help="own gradient as others know it")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print(
        "medians over seeds: accuracy of the mean and of the worst peer, worst of all seeds, bytes"
    )
    print("swarm alpha codec  key  dens   mean  worst lowest kB/peer   s")
    results = []
    for name in args.swarm:
        for alpha in args.alpha:
            setting = Setting(alpha=alpha, delays=(2,), schedule="tail", **SWARMS[name])
            setting = replace(setting, own_as_sent=args.own_as_sent)
            for gossip in [g for codec in args.codec for g in settings_of(args, codec)]:
                began = time.perf_counter()
                got = measure(setting, gossip, args.seeds)
                key_every = gossip.key_every if gossip.is_chained else "-"
                density = gossip.density if gossip.codec == "topk" else "-"
                print(
                    f"{name:5} {alpha:5} {gossip.codec:7}{key_every!s:>3} {density!s:>5} "
                    f"{got['mean']:.4f} {got['worst']:.4f} {got['lowest']:.4f} "
                    f"{got['nbytes'] / 1e3:7.0f} {time.perf_counter() - began:3.0f}",
                    flush=True,
                )
                results.append({"swarm": name, "alpha": alpha, **vars(gossip), **got})
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

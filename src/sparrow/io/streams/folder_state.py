"""What a watched folder saves, and how the ranks of another run go on from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparrow.errors import ConfigError
from sparrow.io.streams.landing import RULES, Settling
from sparrow.io.streams.ledger import Claim, Ledger, PartRead, Progress, are, merge, unknown
from sparrow.io.streams.shapes import pack, unpack

STATE_VERSION = 2
MAX_STATE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class SavedRank:
    """The state of one rank.

    settling, pattern: by which files were found; by others, other ones would pass for consumed.
    shapes:            column -> what it becomes, in words.
    """

    settling: Settling
    pattern: str
    rank: int
    world_size: int
    epoch: int
    columns: tuple[str, ...]
    shapes: dict[str, str]
    ledger: Ledger

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values. Raises `ConfigError` above 100 kB."""
        state = {
            "version": STATE_VERSION,
            "settle": self.settling.rule,
            "stable_ns": self.settling.stable_ns,
            "pattern": self.pattern,
            "rank": self.rank,
            "world_size": self.world_size,
            "epoch": self.epoch,
            "columns": list(self.columns),
            "shapes": pack(self.shapes, self.columns),
            **self.ledger.own.to_json(),
            "parts": [[*part.key, part.num_bytes, part.row] for part in self.ledger.parts.values()],
            "claims": [[claim.rank, claim.world_size, claim.progress.to_json()] for claim in self.ledger.claims],
        }
        num_bytes = len(json.dumps(state))
        if num_bytes > MAX_STATE_BYTES:
            raise ConfigError(
                f"the state of {len(self.columns)} columns and {len(self.ledger.names)} files takes {num_bytes} bytes, at most "
                f"{MAX_STATE_BYTES}; read fewer columns, shorten names, or change the number of ranks less often"
            )
        return state

    @staticmethod
    def of_json(state: Any) -> SavedRank:
        """Return a state that `to_json` made. Raises `CheckpointError` for anything else."""
        if not isinstance(state, dict):
            raise unknown(f"is a {type(state).__name__}, expected a dict")
        if state.get("version") != STATE_VERSION:
            raise unknown(f"has version {state.get('version')!r}, expected {STATE_VERSION}")
        columns, parts, claims = state.get("columns"), state.get("parts"), state.get("claims")
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise unknown(f"has columns={columns!r}, expected a list of names")
        try:
            shapes = unpack(state.get("shapes"), columns)
        except ValueError as error:
            raise unknown(str(error)) from None
        rule, pattern = state.get("settle"), state.get("pattern")
        if rule not in RULES or not isinstance(pattern, str):
            raise unknown(f"has settle={rule!r}, pattern={pattern!r}")
        rank, world_size = _ranks(state.get("rank"), state.get("world_size"))
        if not isinstance(parts, list) or not all(are(part, str, str, int, int) and min(part[2:]) >= 0 for part in parts):
            raise unknown(f"has parts={parts!r}, expected lists of [folder, name, bytes, row]")
        read = {(folder, name): PartRead((folder, name), num_bytes, row) for folder, name, num_bytes, row in parts}
        if not isinstance(claims, list) or not all(are(claim, int, int, dict) for claim in claims):
            raise unknown("has no claims of ranks of before")
        of_before = tuple(Claim(*_ranks(before, world), Progress.of_json(progress)) for before, world, progress in claims)
        ledger = Ledger(Progress.of_json(state), read, of_before)
        settling = Settling(rule, _count(state, "stable_ns"))
        return SavedRank(settling, pattern, rank, world_size, _count(state, "epoch"), tuple(columns), shapes, ledger)


def _ranks(rank: Any, world_size: Any) -> tuple[int, int]:
    if not are([rank, world_size], int, int) or not 0 <= rank < world_size:
        raise unknown(f"has rank={rank!r} of world_size={world_size!r}")
    return rank, world_size


def _count(state: Mapping[str, Any], key: str) -> int:
    value = state.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise unknown(f"has {key}={value!r}, expected a whole number of at least 0")
    return value


def resume(saved: Sequence[SavedRank], rank: int, world_size: int) -> Ledger:
    """Return the ledger with which `rank` of `world_size` goes on.

    Raises `ConfigError` where the states are not of one run, or one that is needed is missing.
    """
    of_world = saved[0].world_size
    ledgers = {one.rank: one.ledger for one in saved}
    if any(one.world_size != of_world for one in saved):
        raise ConfigError(f"the states are of runs with {sorted({one.world_size for one in saved})} ranks; load those saved together")
    if len(ledgers) < len(saved):
        raise ConfigError(f"the states are of ranks {sorted(one.rank for one in saved)}, one of them twice; load one of each rank")
    if world_size == of_world and rank in ledgers:
        return ledgers[rank]
    missing = sorted(set(range(of_world)) - ledgers.keys())
    if missing or world_size == of_world:
        raise ConfigError(
            f"the states given are of rank {', '.join(map(str, sorted(ledgers)))} of {of_world}, and this is rank {rank} of {world_size}; "
            f"load a list of the states of all {of_world} ranks"
        )
    return merge(ledgers, of_world, rank, world_size)


def merged_shapes(saved: Sequence[SavedRank]) -> dict[str, str]:
    """Return what columns become. Raises `ConfigError` where the states differ in it."""
    shapes: dict[str, str] = {}
    for one in saved:
        for name, shape in one.shapes.items():
            if shapes.setdefault(name, shape) != shape:
                raise ConfigError(f"column {name!r} is {shapes[name]} in one state and {shape} in that of rank {one.rank}")
    return shapes

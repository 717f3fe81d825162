"""A dataset's position as JSON, and the positions of all ranks as one that ranks of another number can go on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparrow.errors import CheckpointError, ConfigError
from sparrow.io.deals import Base, Deals, Position
from sparrow.io.fingerprint import is_fingerprint
from sparrow.io.order import Interval, Shuffle, share, union, within

VERSION = 3


@dataclass(frozen=True, slots=True)
class SavedRank:
    """What one rank's state says."""

    rank: int
    world_size: int
    position: Position
    shuffle: Shuffle | None
    files: dict[str, object]
    columns: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        at = self.position
        left = [[deal, [list(interval) for interval in intervals]] for deal, intervals in sorted(at.base.left.items())]
        shuffle = self.shuffle
        return {
            "version": VERSION,
            "rank": self.rank,
            "world_size": self.world_size,
            "epoch": at.epoch,
            "deal": at.deal,
            "dealt": at.dealt,
            "taken": at.taken,
            "base": {"begun": at.base.begun, "left": left},
            "shuffle": None if shuffle is None else [shuffle.seed, shuffle.window_files, shuffle.buffer_pieces],
            "files": self.files,
            "columns": list(self.columns),
        }

    @staticmethod
    def from_json(state: object) -> SavedRank:
        """Raises `CheckpointError` for anything that `to_json` would not have returned."""
        if not isinstance(state, dict):
            raise _bad(f"is a {type(state).__name__}, expected a dict")
        if state.get("version") != VERSION:
            raise _bad(f"has version {state.get('version')!r}, expected {VERSION}")
        columns, files = state.get("columns"), state.get("files")
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise _bad(f"has columns={columns!r}, expected a list of names")
        if not isinstance(files, dict) or not is_fingerprint(files):
            raise _bad("has no list of files")
        rank, world_size = _number(state, "rank"), _number(state, "world_size")
        if rank >= world_size:
            raise _bad(f"is of rank {rank} of {world_size}")
        epoch, deal, dealt, taken = (_number(state, key) for key in ("epoch", "deal", "dealt", "taken"))
        position = Position(epoch, deal, dealt, taken, _base(state.get("base")))
        return SavedRank(rank, world_size, position, _shuffle(state.get("shuffle")), files, tuple(columns))


def _bad(what: str) -> CheckpointError:
    return CheckpointError(f"the reader's state {what}; load a state that Dataset.state_dict returned")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _number(state: dict[str, Any], key: str) -> int:
    value = state.get(key)
    if not _is_count(value):
        raise _bad(f"has {key}={value!r}, expected a whole number of at least 0")
    assert isinstance(value, int)
    return value


def _base(value: object) -> Base:
    if not isinstance(value, dict) or not isinstance(value.get("left"), list):
        raise _bad(f"has base={value!r}, expected what was begun and left")
    left: dict[int, tuple[Interval, ...]] = {}
    for entry in value["left"]:
        try:
            deal, intervals = entry
            pairs = tuple((begin, end) for begin, end in intervals)
            is_good = all(map(_is_count, [deal, *(bound for pair in pairs for bound in pair)])) and union(pairs) == list(pairs)
        except (TypeError, ValueError):
            is_good = False
        if not is_good or deal in left or deal >= _number(value, "begun"):
            raise _bad(f"has {entry!r} among the rows left, expected a deal and sorted intervals of it")
        left[deal] = pairs
    return Base(_number(value, "begun"), left)


def _shuffle(value: object) -> Shuffle | None:
    if value is None:
        return None
    try:
        if isinstance(value, list) and len(value) == 3:
            return Shuffle(*value)
        raise ConfigError("not three numbers")
    except ConfigError:
        raise _bad(f"has shuffle={value!r}, expected seed, files and pieces") from None


def resume(saved: Sequence[SavedRank], deals: Deals) -> Position:
    """Return where a rank goes on. Raises, changing nothing: `ConfigError` where states are missing, `CheckpointError` where they disagree.

    Cost: none with the same number of ranks; with another, the files that ranks were reading are opened.
    """
    world_size = saved[0].world_size
    if any(one.world_size != world_size for one in saved):
        raise CheckpointError(
            f"the readers' states are of runs with {sorted({one.world_size for one in saved})} ranks; give those of one run"
        )
    by_rank = {one.rank: one for one in saved}
    if len(by_rank) != len(saved):
        raise CheckpointError("a rank's reader state was given twice; give each once")
    for one in saved:
        at = one.position
        if max(at.deal, at.base.begun) > deals.num_deals or (at.deal == deals.num_deals and at.taken):
            raise _bad(f"is at deal {at.deal}, row {at.taken}, but the files make {deals.num_deals} deals")
    if world_size == deals.world_size and deals.rank in by_rank:
        return by_rank[deals.rank].position
    if len(by_rank) < world_size:
        missing = ", ".join(str(rank) for rank in range(world_size) if rank not in by_rank)
        raise ConfigError(
            f"the reader's state was saved by {world_size} ranks, and this is rank {deals.rank} of {deals.world_size}: "
            f"give the list of the states of all, those of ranks {missing} are missing"
        )
    return _merged([by_rank[rank].position for rank in range(world_size)], deals)


def _merged(positions: list[Position], deals: Deals) -> Position:
    """Return the start of a new deal of what ranks at `positions`, of which there are as many as there were ranks, have left."""
    epoch = min(position.epoch for position in positions)
    # A rank that has begun nothing of the next epoch has done all of this one.
    ended = Position(epoch, deals.num_deals, 0, 0)
    if any(
        at.epoch > epoch + 1 or (at.epoch == epoch + 1 and (at.deal, at.taken, at.dealt, at.base) != (0, 0, 0, Base())) for at in positions
    ):
        raise CheckpointError("the readers' states were not saved at one step: they are of different epochs; give those of one checkpoint")
    positions = [at if at.epoch == epoch else ended for at in positions]
    active = [at for at in positions if at.deal < deals.num_deals]
    if not active:
        return Position(epoch, deals.num_deals)
    base = active[0].base
    if any(at.base != base for at in active):
        raise CheckpointError("the readers' states were not dealt the same rows; give those of one checkpoint")
    first = min(active, key=lambda at: at.deal)
    begun = 1 + max(at.deal if at.taken else at.deal - 1 for at in positions)
    begun = min(max(begun, first.deal, base.begun), deals.num_deals)
    dealt, left = first.dealt, {}
    for deal in deals.numbers(first):
        if deal >= begun:
            break
        intervals = base.left[deal] if deal in base.left and deal < base.begun else ((0, deals.num_rows(deal, epoch)),)
        num_rows = sum(end - begin for begin, end in intervals)
        rest = [_rest(at, deal, share(rank, len(positions), dealt, num_rows)) for rank, at in enumerate(positions)]
        still = union(interval for low, high in rest for interval in within(intervals, low, high))
        if still:
            left[deal] = tuple(still)
        dealt += num_rows
    return Position(epoch, min([*left, begun]), 0, 0, Base(begun, left))


def _rest(at: Position, deal: int, mine: Interval) -> Interval:
    """Return what a rank has left of its share of a deal."""
    begin, end = mine
    if at.deal != deal:
        return (end, end) if at.deal > deal else mine
    return min(begin + at.taken, end), end

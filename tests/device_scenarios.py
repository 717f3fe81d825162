"""What `tests/tables/test_device.py` runs, each in a process of its own: tables on a device beside the same tables on the CPU.

On a GPU where there is one, which torch then lets nobody wait for; else on the device of `strict_device`, kernels in the interpreter.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from launches import counted
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import DataError, SparrowError, TableError
from sparrow.optim import SparseOptimizer
from sparrow.tables import Initializer, Normal, TableGroup, TableOptions, Uniform, device_map, growth, placement
from sparrow.types import Batch, Ragged

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if ON_GPU else torch.device("meta")


@contextlib.contextmanager
def device(lateness: int = 2) -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Give the context in which nobody may wait for the device. Memory that kernels allocate is poisoned, as in conftest.py."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    if ON_GPU:
        yield _no_waiting_for_cuda
        return
    import strict_device

    with strict_device.installed(lateness):
        yield strict_device.no_waiting


@contextlib.contextmanager
def _no_waiting_for_cuda() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def raises(kind: type[SparrowError], call: Callable[[], Any]) -> str:
    """Return the message of the error that `call` raises."""
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__} was raised")


def same_bits(one: Tensor, two: Tensor) -> bool:
    return one.dtype == two.dtype and one.shape == two.shape and torch.equal(one.view(torch.uint8), two.view(torch.uint8))


def check_equal(mine: TableGroup, theirs: TableGroup) -> int:
    """Check that two groups hold the same rows, bit for bit by id; return how many."""
    num_rows = 0
    for one, two in zip(mine.export(), theirs.export(), strict=True):
        assert one.table == two.table
        assert torch.equal(one.ids, two.ids)
        assert same_bits(one.weights, two.weights), one.table
        assert one.slots.keys() == two.slots.keys()
        assert all(same_bits(one.slots[name], two.slots[name]) for name in one.slots), one.table
        assert torch.equal(one.meta, two.meta), one.table
        num_rows += one.ids.numel()
    mine_described, theirs_described = mine.describe(), theirs.describe()
    assert mine_described == theirs_described
    assert mine.num_rows == theirs.num_rows
    return num_rows


class Trained:
    """A group and its optimizer, trained by hand."""

    def __init__(self, place: torch.device | str, **options: Any) -> None:
        tables = [TableOptions(name=name, seed=index, device=place, **options) for index, name in enumerate("ab")]
        self.group = TableGroup("g", tables, rows_per_block=32)
        self.optimizer = SparseOptimizer([self.group], lr=0.05)

    def step(self, ids: Tensor, table_offsets: Tensor, segments: Tensor, combiners: Tensor, weights: Tensor | None, grad: Tensor) -> None:
        lookup = self.group.lookup(ids, table_offsets, insert=True)
        out = self.group.pool(lookup, segments, combiners, grad.shape[0], weights)
        del lookup
        out.backward(grad)
        self.optimizer.step()
        self.optimizer.zero_grad()


def _train(num_steps: int, dtype: torch.dtype, rule: str, initializer: Initializer, weighted: bool) -> None:
    # Small tables are divided into ranges as large ones are.
    growth._MOST_KEYS_OF_ONE_RANGE, growth._RANGE_BITS = 96, 2
    random = torch.Generator().manual_seed(num_steps)
    dim, num_samples = 5, 8
    with device() as no_waiting:
        here, there = (Trained(place, dim=dim, dtype=dtype, rule=rule, initializer=initializer) for place in ("cpu", DEVICE))
        assert there.group.device == DEVICE
        for step in range(num_steps):
            split, size = int(torch.randint(0, 25, (1,), generator=random)), int(torch.randint(24, 41, (1,), generator=random))
            num_ids = 60 + step * 400 // num_steps
            ids = torch.randint(0, num_ids, (size,), generator=random)
            ids[0] = -(2**63) if step % 7 == 3 else ids[0]
            cuts = torch.randint(0, size + 1, (2 * num_samples - 1,), generator=random).sort().values
            segments = torch.cat([torch.zeros(1, dtype=torch.int64), cuts, torch.tensor([size])])
            grad = torch.randn(num_samples, 2, dim, generator=random)
            weights = torch.rand(size, generator=random) if weighted and step % 2 else None
            batch = (ids, torch.tensor([0, split, size]), segments, torch.tensor([step % 3, 1]), weights, grad)
            here.step(*batch)
            moved = [value if index == 1 or value is None else value.to(DEVICE) for index, value in enumerate(batch)]
            with no_waiting():
                there.step(*moved)  # type: ignore[arg-type]
            if step % (num_steps // 4) == num_steps // 8:
                forgotten = torch.randint(0, num_ids, (60,), generator=random)
                assert here.group.erase("a", forgotten) == there.group.erase("a", forgotten) > 0
            if step in (num_steps // 2, num_steps - 1):
                assert check_equal(here.group, there.group) > 60
        assert int(there.group.map.headers[:, 1].max()) > 0, "a table must have been divided for this test to mean anything"
        assert torch.equal(there.group.map.settle() or there.group.map.counters.cpu(), here.group.map.counters), "rows are numbered alike"
        # Read-only lookups: known ids, an unknown one, and rows as the CPU reads them.
        ids = torch.tensor([1, 2, -77, -(2**63)])
        offsets, segments, one = torch.tensor([0, 4, 4]), torch.arange(5), torch.zeros(1, dtype=torch.int64)
        read = here.group.pool(here.group.lookup(ids, offsets, insert=False), segments, one, 4)
        with torch.no_grad(), no_waiting():
            found = there.group.lookup(ids.to(DEVICE), offsets, insert=False)
            again = there.group.pool(found, segments.to(DEVICE), one.to(DEVICE), 4)
        assert same_bits(read.detach(), again.cpu())


def train_200_steps() -> None:
    _train(200, torch.float32, "adam", Uniform(-1.0, 1.0), weighted=False)


def train_16_bit_rows_with_weights() -> None:
    _train(24, torch.bfloat16, "rowwise_adagrad", Normal(std=1.0), weighted=True)


def _engine(place: torch.device | str, **others: torch.device | str) -> EmbeddingEngine:
    options = {
        "user": EmbeddingOption(dim=4, device=place, initializer=Normal(std=1.0)),
        "item": EmbeddingOption(dim=4, device=place, initializer=Normal(std=1.0), combiner="mean"),
        "seen": EmbeddingOption(dim=4, device=place, initializer=Normal(std=1.0), table="item", combiner="sqrtn"),
        "words": EmbeddingOption(dim=4, device=others.get("words", place), initializer=Normal(std=1.0), combiner="none"),
    }
    return EmbeddingEngine(options, seed=3, rows_per_block=64)


def _batch(step: int) -> Batch:
    random = torch.Generator().manual_seed(step)

    def ragged(weighted: bool) -> Ragged:
        lengths = torch.randint(0, 4, (12,), generator=random)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        size = int(offsets[-1])
        return Ragged(torch.randint(0, 60, (size,), generator=random), (offsets,), torch.rand(size, generator=random) if weighted else None)

    return Batch.of(
        {
            "user": torch.randint(0, 60, (12,), generator=random),
            "item": torch.randint(0, 60, (12, 2), generator=random),
            "seen": ragged(True),
            "words": ragged(False),
        }
    )


def _engine_step(engine: EmbeddingEngine, optimizer: SparseOptimizer, batches: list[Batch], clip: bool) -> Tensor:
    """Make one update from the summed gradients of several batches; return the norm of the gradients. Values are clipped, one by one:
    torch adds the squares of a norm in another order where there are more rows, be they zeros."""
    for batch in batches:
        embedded = engine(batch)
        loss = sum((embedded[name] ** 2).sum() for name in ("user", "item", "seen")) + (embedded["words"].values ** 3).sum()
        loss.backward()  # type: ignore[union-attr]
    sinks = [sink for group in optimizer.param_groups for sink in group["params"]]
    norm = torch.zeros(())
    if clip:
        norm = torch.nn.utils.clip_grad_norm_(sinks, torch.inf)
        torch.nn.utils.clip_grad_value_(sinks, 0.5)
    optimizer.step()
    optimizer.zero_grad()
    return norm


def engines_train_save_and_move() -> None:
    from sparrow.saver import Saver  # needs a package that not every machine with a GPU has

    with device() as no_waiting, tempfile.TemporaryDirectory() as folder:
        here, there = _engine("cpu"), _engine(DEVICE)
        assert [group.name for group in here.groups] == [group.name for group in there.groups]
        optimizers = SparseOptimizer(here, lr=0.1), SparseOptimizer(there, lr=0.1)

        def train(steps: range, waits: bool = False) -> None:
            for step in steps:
                batches = [_batch(2 * step), _batch(2 * step + 1)] if step % 2 else [_batch(2 * step)]
                norm = _engine_step(here, optimizers[0], batches, clip=step % 3 == 2)
                moved = batches if there.groups[0].device.type == "cpu" else [batch.to(DEVICE) for batch in batches]
                with contextlib.nullcontext() if waits else no_waiting():
                    same_norm = _engine_step(there, optimizers[1], moved, clip=step % 3 == 2)
                torch.testing.assert_close(norm, same_norm.cpu(), rtol=1e-5, atol=0.0)

        def check() -> None:
            assert sum(check_equal(mine, theirs) for mine, theirs in zip(here.groups, there.groups, strict=True)) > 50

        train(range(4))
        check()
        # A checkpoint of one loads into the other.
        for number, (source, place) in enumerate(((here, DEVICE), (there, "cpu"))):
            loaded = _engine(place)
            path = Saver(f"{folder}/{number}").save(1, {group.name: group for group in source.groups}, {}, {})
            Saver(f"{folder}/{number}").load(path, {group.name: group for group in loaded.groups})
            for mine, theirs in zip(source.groups, loaded.groups, strict=True):
                check_equal(mine, theirs)
        # Rows move when they are told to, and training goes on as if they had not.
        there.half()
        message = raises(TableError, lambda: there.to("cpu"))
        assert "move_tables" in message
        assert there.groups[0].name in message
        here(_batch(0))
        kept = there(_batch(0).to(DEVICE))
        assert "lookups may still update" in raises(TableError, lambda: there.move_tables("cpu"))
        del kept
        there.move_tables("cpu")
        train(range(4, 6), waits=True)
        check()
        there.move_tables(DEVICE)
        train(range(6, 8))
        check()
        for wrong, model, place in ((_batch(0), there, DEVICE), (_batch(0).to(DEVICE), here, torch.device("cpu"))):
            message = raises(DataError, lambda: model(wrong))  # noqa: B023
            for word in ("'user'", "table", f"lives on {place}", "Batch.to"):
                assert word in message, message
        # Tables of one engine may live in two places; the names of their groups tell them apart.
        divided = _engine(DEVICE, words="cpu")
        assert [group.device for group in divided.groups] == [DEVICE, torch.device("cpu")]
        assert len({group.name for group in divided.groups}) == 2


def what_the_host_knows() -> None:
    """Bounds stay near what is there however late counts come; ids without room are told of later, captured lookups at once."""
    with device(lateness=50) as no_waiting:
        group = TableGroup("g", [TableOptions(name="a", dim=2, rule="sgd", device=DEVICE)], rows_per_block=32)
        ids = torch.arange(64).to(DEVICE)
        offsets = torch.tensor([0, 64])
        for _ in range(12):
            with no_waiting():
                group.lookup(ids, offsets, insert=True)
        with no_waiting():
            # What the other tests rely on: whoever waits is found out.
            for wait in (lambda: group.num_rows, lambda: ids.cpu(), lambda: ids[ids > 3], lambda: ids.nonzero()):
                with contextlib.suppress(AssertionError, RuntimeError):
                    wait()
                    raise SystemExit("somebody waited for the device and nobody said so")
        # Two calls of 64 may still be uncounted, and the one that asked.
        assert group.blocks.capacity <= 64 * (1 + device_map.MOST_CALLS_BEHIND + 1)
        assert group.num_rows == 64
        group.add_table(TableOptions(name="b", dim=2, rule="sgd", device=DEVICE))
        group.change_rule("momentum")
        group.map.reserve(1, 300)
        with no_waiting():
            group.lookup(ids, torch.tensor([0, 0, 64]), insert=True)
        assert [group.num_ids(name) for name in "ab"] == [64, 64]

    with device(lateness=1):
        group = TableGroup("crowded", [TableOptions(name=name, dim=2, rule="sgd", device=DEVICE) for name in "ab"], rows_per_block=32)
        share, growth.share = growth.share, lambda num_ids, num_ranges: num_ids * 0
        lookup = group.lookup(torch.arange(64).to(DEVICE), torch.tensor([0, 0, 64]), insert=True)
        growth.share = share
        num_lost = int((lookup.rows.cpu() < 0).sum())
        assert num_lost == 64 - 4 * 5, "a table begins with four lines of five ids"

        def next_lookups() -> None:
            for _ in range(2):
                group.lookup(torch.arange(3).to(DEVICE), torch.tensor([0, 3, 3]), insert=True)
            raise AssertionError("lookups went on")

        message = raises(TableError, next_lookups)
        assert "'crowded'" in message
        assert f"{num_lost} ids of tables ['b']" in message

        group = TableGroup("g", [TableOptions(name="a", dim=2, rule="sgd", device=DEVICE)], rows_per_block=32)
        placement.is_capturing = lambda device: True
        for insert in (True, False):
            assert "CUDA graph" in raises(TableError, lambda: group.lookup(ids, offsets, insert=insert))  # noqa: B023


def launches_of_a_step() -> None:
    """A step of 26 features launches at most 20 kernels of ours."""
    assert not ON_GPU, "kernels are counted where there is no GPU"
    features = [f"f{number}" for number in range(26)]
    with device() as no_waiting, counted() as launched:
        engine = EmbeddingEngine({name: EmbeddingOption(dim=4, device=DEVICE) for name in features}, rows_per_block=1 << 12)
        optimizer = SparseOptimizer(engine)
        batch = Batch.of({name: torch.arange(12) + index for index, name in enumerate(features)}).to(DEVICE)
        launched.clear()
        with no_waiting():
            engine(batch).stack(features).sum().backward()
            optimizer.step()
        assert 0 < len(launched) <= 20, launched
        print(len(launched))

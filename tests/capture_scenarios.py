"""What `tests/optim/test_captured.py` runs, each in a process of its own: captured steps on a device beside eager ones on the CPU.

On a GPU where there is one, by CUDA graphs; else on the device of `strict_device`, by the records of `recorded_steps`.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from device_scenarios import DEVICE, ON_GPU, check_equal, device, raises, same_bits
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import ConfigError, DataError, TableError
from sparrow.features import Feature
from sparrow.models import DeepFM
from sparrow.ops import id_map
from sparrow.optim import CapturedStep, CombinedOptimizer, SparseOptimizer
from sparrow.tables import Normal, TableGroup, TableOptions, Uniform, growth, table_groups
from sparrow.types import Batch, Group, Ragged

SAMPLES = 6


@contextlib.contextmanager
def graphs() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Give the context in which nobody may wait for the device, with graphs of some kind."""
    with contextlib.ExitStack() as stack:
        no_waiting = stack.enter_context(device())
        if not ON_GPU:
            import recorded_steps

            stack.enter_context(recorded_steps.installed())
        yield no_waiting


class TwoTables:
    """A group of two tables and its optimizer; ids of the first come first, 24 of 40."""

    SPLIT, SIZE, DIM, SAMPLES = 24, 40, 5, 8

    def __init__(self, place: torch.device | str, rule: str) -> None:
        tables = [
            TableOptions(name=name, seed=k, dim=self.DIM, rule=rule, initializer=Uniform(-1.0, 1.0), device=place)
            for k, name in enumerate("ab")
        ]
        self.group = TableGroup("g", tables, rows_per_block=32)
        more = {"decay_step": 7.0} if rule == "adagrad_decay" else {}
        self.optimizer = SparseOptimizer([self.group], lr=0.05, **more)

    def step(self, batch: Batch) -> Tensor:
        lookup = self.group.lookup(batch["ids"], torch.tensor([0, self.SPLIT, self.SIZE]), insert=True)
        out = self.group.pool(lookup, batch["segments"], batch["combiners"], self.SAMPLES)
        del lookup
        out.backward(batch["grad"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        return out.detach()

    @classmethod
    def batch(cls, random: torch.Generator, most: int) -> Batch:
        """Return ids up to `most`, many known and some fresh; where segments end, how they are pooled, and gradients change too."""
        cuts = torch.randint(0, cls.SIZE + 1, (2 * cls.SAMPLES - 1,), generator=random).sort().values
        columns = {
            "ids": torch.randint(0, most, (cls.SIZE,), generator=random),
            "segments": torch.cat([torch.zeros(1, dtype=torch.int64), cuts, torch.tensor([cls.SIZE])]),
            "combiners": torch.randint(0, 3, (2,), generator=random),
            "grad": torch.randn(cls.SAMPLES, 2, cls.DIM, generator=random),
        }
        columns["ids"][0] = -(2**63) if most % 7 == 3 else columns["ids"][0]
        return Batch({name: Group({name: column}, column.shape[0]) for name, column in columns.items()})


def forget_caches() -> None:
    """Forget what bodies keep between launches: what a graph reads must not depend on it."""
    from sparrow.ops import triton_rows
    from sparrow.ops.init_rows import triton as init_rows

    triton_rows._address_table.cache_clear()
    init_rows._normal_table.cache_clear()
    gc.collect()  # the interpreter leaves cycles behind


def check_bounds(map: Any) -> None:
    """Check that the host thinks no less is there than there is, and not much more: what it hears of is at most three calls old."""
    num_rows, ranges = int(map.counters.cpu()[id_map.COUNTER_ROWS]), map.tensors()[2].cpu()
    assert num_rows <= map._most_rows <= num_rows + 4 * TwoTables.SIZE
    assert (ranges[:, id_map.RANGE_NUM_KEYS] <= map.ranges[:, id_map.RANGE_NUM_KEYS]).all()


def a_group_is_replayed(rule: str, num_steps: int) -> None:
    growth._MOST_KEYS_OF_ONE_RANGE, growth._RANGE_BITS = 96, 2
    random = torch.Generator().manual_seed(1)
    num_refused = num_replayed = 0
    with graphs() as no_waiting:
        here, there = TwoTables("cpu", rule), TwoTables(DEVICE, rule)
        captured = CapturedStep(there.step, there.optimizer, room=5)
        for number in range(num_steps):
            if number % 10 == 5:
                forget_caches()
            batch = TwoTables.batch(random, 40 + 250 * number // num_steps)
            for one in (here, there):
                one.optimizer.param_groups[0]["lr"] = 0.05 / (1 + number % 9)
            moved, wanted = batch.to(DEVICE), here.step(batch)
            assert captured.is_captured or number < 2 or num_refused
            found, refused = None, ""
            if captured.is_captured:
                try:
                    with no_waiting():
                        found = captured(moved)
                except TableError as error:
                    refused = str(error)
            if refused:
                for word in ("'g'", "table", "must grow", "make_room()", "recapture=True", "room", "may come"):
                    assert word in refused, refused
                assert there.group.step == number, "a step that is refused was not taken"
                captured.make_room()
                assert not captured.is_captured
            num_refused, num_replayed = num_refused + bool(refused), num_replayed + (found is not None)
            found = captured(moved) if found is None else found
            assert same_bits(wanted, found.cpu()), number
            check_bounds(there.group.map)
            if number in (num_steps // 2, num_steps - 1):
                assert check_equal(here.group, there.group) > 60
                assert there.group.table_steps == here.group.table_steps
        assert num_refused > 0
        assert num_replayed > num_steps // 2
        assert int(there.group.map.headers[:, 1].max()) > 0, "a table must have been divided for this test to mean anything"


def _engine(place: torch.device | str) -> EmbeddingEngine:
    normal = Normal(std=1.0)
    options = {
        "user": EmbeddingOption(dim=4, device=place, initializer=normal),
        "seen": EmbeddingOption(dim=4, device=place, initializer=normal, table="item", combiner="sqrtn"),
        "item": EmbeddingOption(dim=4, device=place, initializer=normal, combiner="mean"),
        "tags": EmbeddingOption(dim=4, device=place, initializer=normal, table="user"),
        "words": EmbeddingOption(dim=3, device=place, initializer=normal, combiner="none", rule="momentum"),
        "plain": EmbeddingOption(dim=3, device=place, initializer=normal, combiner="none", rule="momentum", table="words"),
        "long": EmbeddingOption(dim=2, device=place, initializer=normal, rule="sgd", hyper={"weight_decay": 0.1}),
    }
    return EmbeddingEngine(options, seed=3, rows_per_block=64)


class Whole:
    """Several groups of several rules, looked up twice a step, and a dense half; clipping reads the gradients of one group in three."""

    def __init__(self, place: torch.device | str) -> None:
        self.engine = _engine(place)
        self.optimizer = SparseOptimizer(self.engine, lr=0.1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1 / (1 + step % 13))
        self.dense = torch.ones(SAMPLES).to(place).requires_grad_()

    def step(self, batch: Batch) -> Tensor:
        # What is only read takes part in the graph as well.
        self.engine.eval()
        with torch.no_grad():
            known = self.engine(batch)["user"]
        self.engine.train()
        embedded = self.engine(batch)
        loss = (embedded.stack(["user", "tags"]) * embedded["item"].unsqueeze(1)).sum() + (embedded["seen"] ** 2).sum()
        loss = loss + (embedded["long"] ** 2).sum() + (embedded["plain"] ** 2).sum() + (embedded["words"].values ** 2).sum()
        (loss + (self.dense * batch["label"]).sum()).backward()
        torch.nn.utils.clip_grad_value_(list(self.optimizer.param_groups[-1]["params"]), 0.5)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            assert self.dense.grad is not None
            self.dense.sub_(self.dense.grad * 0.5)
        self.dense.grad = None
        return known


def _whole_batch(random: torch.Generator, number: int, samples: int) -> Batch:
    most = 50 + number

    def ragged(longest: int, weighted: bool = False) -> Ragged:
        lengths = torch.randint(0, longest + 1, (samples,), generator=random)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        size = int(offsets[-1])
        return Ragged(
            torch.randint(0, most, (size,), generator=random), (offsets,), torch.rand(size, generator=random) if weighted else None
        )

    return Batch.of(
        {
            "user": torch.randint(0, most, (samples,), generator=random),
            "item": torch.randint(0, most, (samples, 2), generator=random, dtype=torch.int32),
            "seen": ragged(3, weighted=True),
            "tags": ragged(2),
            "words": ragged(3),
            "plain": torch.randint(0, most, (samples,), generator=random),
            # Segments, and rows, of more than 256.
            "long": Ragged(
                torch.randint(0, 3 if number % 8 == 0 else most, (size := 300 if number % 8 < 2 else 20,), generator=random),
                (torch.tensor([0] * (samples // 2) + [size - 7] * (samples - samples // 2) + [size]),),
            ),
            "label": torch.randn(samples, generator=random),
        }
    )


def engines_are_replayed() -> None:
    random = torch.Generator().manual_seed(2)
    num_replayed, num_steps = 0, 20
    with graphs():
        here, there = Whole("cpu"), Whole(DEVICE)
        names = {"seen": 18, "words": 18, "long": 300}
        captured = CapturedStep(there.step, there.optimizer, most_values=names, room=6, recapture=True)
        for number in range(num_steps):
            eager = number == 11
            batch = _whole_batch(random, number, 4 if eager else SAMPLES)
            if eager:  # another shape
                batch = Batch.of({**batch.groups["sample"].columns, "label": torch.zeros(4)})
                for one in (here, there):
                    one.dense = one.dense[:4].detach().requires_grad_()
                here.step(batch)
                there.step(batch.to(DEVICE))
                for one in (here, there):
                    one.dense = torch.ones(SAMPLES).to(one.dense.device).requires_grad_()
                captured.make_room()  # the step reads another dense tensor
            else:
                num_replayed += captured.is_captured
                # A batch may be on the CPU.
                wanted, found = here.step(batch), captured(batch if number % 2 else batch.to(DEVICE))
                assert same_bits(wanted, found.cpu()), number
            for one in (here, there):
                one.schedule.step()
            if number in (7, 15):
                forgotten = torch.randint(0, 60, (30,), generator=random)
                counts = [one.engine.groups[0].erase("user", forgotten) for one in (here, there)]
                assert counts[0] == counts[1] > 0
            if number in (num_steps // 2, num_steps - 1):
                for mine, theirs in zip(here.engine.groups, there.engine.groups, strict=True):
                    assert check_equal(mine, theirs) > 30
                    assert (mine.step, mine.table_steps) == (theirs.step, theirs.table_steps)
                assert same_bits(here.dense.detach(), there.dense.detach().cpu())
        assert num_replayed > num_steps // 2


def what_is_refused() -> None:
    """Each refusal names what is wrong; batches that do not fit leave no trace."""
    with graphs() as no_waiting:
        random = torch.Generator().manual_seed(3)
        columns = _whole_batch(random, 0, SAMPLES).groups["sample"].columns
        batch = Batch.of({name: columns[name] for name in ("user", "seen", "label")}).to(DEVICE)
        options = {name: EmbeddingOption(dim=2, device=DEVICE, rule="sgd") for name in ("user", "seen")}

        def made(**kinds: Any) -> tuple[EmbeddingEngine, SparseOptimizer]:
            engine = EmbeddingEngine({**options, **kinds}, rows_per_block=64)
            return engine, SparseOptimizer(engine)

        def train(engine: EmbeddingEngine, optimizer: SparseOptimizer, batch: Batch, also: Callable[[], Any] = lambda: None) -> None:
            engine(batch)["user"].sum().backward()
            also()
            optimizer.step()
            optimizer.zero_grad()

        # Where and what.
        on_host = EmbeddingEngine({"user": EmbeddingOption(dim=2)})
        assert "'cpu'" in raises(ConfigError, lambda: CapturedStep(print, SparseOptimizer(on_host)))
        engine, optimizer = made()
        assert "room is 0" in raises(ConfigError, lambda: CapturedStep(print, optimizer, room=0))
        message = raises(ConfigError, lambda: CapturedStep(print, optimizer, most_values={"sen": 3})(batch))
        assert "did you mean 'seen'" in message
        tiled, its_optimizer = made(seen=EmbeddingOption(dim=2, device=DEVICE, rule="sgd", combiner="tile", tile_len=2))
        message = raises(TableError, lambda: CapturedStep(lambda b: train(tiled, its_optimizer, b), its_optimizer)(batch))
        assert "'seen'" in message
        assert "'tile'" in message

        # What a step does.
        def first(step: Callable[[Batch], Any], what: str) -> None:
            message = raises(TableError, lambda: CapturedStep(step, optimizer)(batch))
            assert what in message, message
            optimizer.zero_grad()

        first(lambda b: None, "did not call step()")
        first(lambda b: on_host(b.to("cpu") if ON_GPU else Batch.of({"user": torch.arange(3)})), "lives on cpu")
        other, _ = made()
        first(lambda b: other(b), "is not of the step's optimizer")
        first(lambda b: [train(engine, optimizer, b), engine(b)], "is looked up for training after its update")
        first(lambda b: train(engine, optimizer, b, optimizer.step), "steps twice")
        first(lambda b: made()[1].step(), "of another optimizer")
        first(lambda b: CapturedStep(lambda b: None, optimizer)(b), "inside another")

        # What changes from one time to the next.
        passed: list[int] = []

        def changing(b: Batch) -> None:
            passed.append(1)
            (engine if len(passed) == 3 else other).eval()(b)
            train(engine.train(), optimizer, b)

        captured = CapturedStep(changing, optimizer)
        captured(batch)
        assert "looked up or updated other tables" in raises(TableError, lambda: captured(batch))
        engine, optimizer = made()

        # Batches of another shape: nothing is done, and the next that fits is taken.
        captured = CapturedStep(lambda b: train(engine, optimizer, b), optimizer, most_values={"seen": 7})
        short = Ragged(torch.arange(4).to(DEVICE), (torch.tensor([0, 4, 4, 4, 4, 4, 4]).to(DEVICE),), torch.ones(4).to(DEVICE))
        fits = Batch.of({**batch.groups["sample"].columns, "seen": short})
        for _ in range(3):
            captured(fits)
        assert captured.is_captured
        its = fits.groups["sample"].columns
        longer = Ragged(torch.arange(8).to(DEVICE), short.offsets, torch.ones(8).to(DEVICE))
        for columns, what in (
            ({"user": its["user"], "seen": short}, "the batch has columns"),
            ({**its, "seen": longer}, "most_values={'seen': 8}"),
            ({**its, "seen": Ragged(short.values, short.offsets)}, "weights of column 'seen' are missing"),
            ({**its, "user": its["user"].int()}, "values of column 'user' are torch.int32"),
            ({**its, "user": short}, "column 'user' is ragged"),
            ({name: column[:5] for name, column in its.items() if isinstance(column, Tensor)} | {"seen": short}, "equal rows"),
        ):
            assert what in raises(DataError, lambda: captured(Batch.of(columns))), what  # noqa: B023
        assert "1 samples of padding" in raises(DataError, lambda: captured(Batch.of(its, num_padding=1)))
        assert optimizer.groups[0].step == 3
        with no_waiting():
            captured(fits)
        # Tables that others changed are not replayed upon.
        optimizer.groups[0].add_table(TableOptions(name="new", dim=2, rule="sgd", device=DEVICE))
        message = raises(TableError, lambda: captured(fits))
        assert "does not lie where it did" in message
        assert "make_room()" in message
        captured.make_room()
        captured(fits)
        with no_waiting():
            captured(fits)
        assert optimizer.groups[0].step == 6
        # What waits. The last of all, as a graph whose capture broke off may leave torch in disorder.
        waiting = CapturedStep(lambda b: train(engine, optimizer, b, lambda: int(b["label"].sum())), optimizer)
        waiting(batch)
        said = ""
        try:
            waiting(batch)
        except (AssertionError, RuntimeError) as error:
            said = str(error)
        assert said if ON_GPU else "waits for the device" in said, "somebody waited for the device in a graph and nobody said so"


def a_model_of_the_zoo_is_replayed() -> None:
    """DeepFM and a dense optimizer beside the tables'. A GPU sums the dense half in another order: there it agrees to a tolerance."""

    def same(one: Tensor, two: Tensor) -> bool:
        one, two = one.detach().reshape(-1), two.detach().cpu().reshape(-1)
        return torch.allclose(one, two, rtol=1e-4, atol=1e-5) if ON_GPU else same_bits(one, two)

    def trained(place: torch.device | str) -> tuple[DeepFM, CombinedOptimizer, Callable[[Batch], Tensor]]:
        torch.manual_seed(1)
        features = [
            Feature("x").select("x").log1p(),
            Feature("user").select("user").mod(17),
            Feature("genres").select("genres").truncate(2),
        ]
        model = DeepFM(features, dense=["x"], sparse=["user", "genres"], dim=4, hidden=(6,), rule="sgd", seed=2, device=place)
        optimizer = CombinedOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), SparseOptimizer(model, lr=0.1))

        def step(batch: Batch) -> Tensor:
            logits: Tensor = model(batch)
            logits.square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            return logits.detach()

        return model, optimizer, step

    random = torch.Generator().manual_seed(4)
    with graphs():
        (here, _, eager), (there, optimizer, step) = trained("cpu"), trained(DEVICE)
        captured = CapturedStep(step, optimizer, most_values={"genres": 3 * SAMPLES}, room=8)
        for number in range(8):
            offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 4, (SAMPLES,), generator=random).cumsum(0)])
            batch = Batch.of(
                {
                    "x": torch.rand(SAMPLES, generator=random),
                    "user": torch.randint(0, 20, (SAMPLES,), generator=random),
                    "genres": Ragged(torch.randint(0, 20, (int(offsets[-1]),), generator=random), (offsets,)),
                }
            )
            assert captured.is_captured == (number > 1)
            assert same(eager(batch), captured(batch)), number
        assert all(same(one, two) for one, two in zip(here.parameters(), there.parameters(), strict=True))
        for mine, theirs in zip(table_groups(here), table_groups(there), strict=True):
            assert ON_GPU or check_equal(mine, theirs) > 20
            assert mine.num_rows == theirs.num_rows

"""Every instruction set and number of threads gives the same bits: one training run, and columns combined by row, in a process each."""

from sparrow.ops import library
from tests_support import run_python

# Inserts enough ids to be divided among threads, erases some, pools and updates by several rules; prints a digest of all state.
_RUN = """
import hashlib, sys, torch
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.optim import SparseOptimizer
from sparrow.tables import Normal, TruncatedNormal
from sparrow.types import Batch, Ragged

torch.set_num_threads(int(sys.stdin.read()))
rules = ["adam", "rowwise_adagrad", "ftrl", "sgd"]
engine = EmbeddingEngine({
    rule: EmbeddingOption(dim=dim, rule=rule, combiner=combiner, initializer=initializer(std=0.5))
    for rule, dim, combiner, initializer in zip(rules, (16, 17, 4, 3), ("sum", "mean", "sum", "mean"), (Normal, TruncatedNormal) * 2)
})
optimizer = SparseOptimizer(engine, lr=0.05)
generator = torch.Generator().manual_seed(1)
digest = hashlib.sha256()
for step in range(3):
    ids = torch.randint(-2**63, 2**63 - 1, (30_000,), generator=generator)
    lengths = torch.randint(0, 6, (20_000,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    values = ids[torch.randint(0, 30_000, (int(offsets[-1]),), generator=generator)]
    batch = Batch.of({rule: Ragged(values + position, (offsets,)) for position, rule in enumerate(rules)})
    embedded = engine(batch)
    # A gradient made of integers: torch's own kernels, which differ by instruction set, take no part.
    for position, rule in enumerate(rules):
        grad = ((torch.arange(embedded[rule].numel()) + step) % 17 - 8).reshape(embedded[rule].shape).float()
        embedded[rule].backward(grad, retain_graph=True)
    optimizer.step()
    for rule in rules:
        digest.update(embedded[rule].detach().contiguous().numpy().tobytes())
    for group in engine.groups:
        group.erase(group.tables[0].name, values[::7])
for group in engine.groups:
    for tensor in (group.map.lines, group.map.headers, group.map.ranges, group.map.counters):
        digest.update(tensor.numpy().tobytes())
    for chunk in group.export():
        for tensor in (chunk.ids, chunk.weights, chunk.meta, *chunk.slots.values()):
            digest.update(tensor.numpy().tobytes())
print(digest.hexdigest(), group.num_rows)
"""


def test_every_instruction_set_and_number_of_threads_gives_the_same_bits() -> None:
    names = ["baseline", "avx2", "avx512"]
    runs = names[: names.index(library.instruction_set()) + 1]
    expected = run_python(_RUN, stdin="1", SPARROW_ISA="baseline")
    assert int(expected.split()[1]) > 50_000
    for name in runs:
        for threads in ("1", "2", "4"):
            assert run_python(_RUN, stdin=threads, SPARROW_ISA=name) == expected, f"{name}, {threads} threads"


# Lists around the lengths at which vectors and tables take over. Prints a digest of what every operator on rows of several columns makes.
_ROWS = """
import hashlib, sys, torch
from sparrow.ops.concat_rows.op import concat_rows
from sparrow.ops.cross_rows.op import cross_rows
from sparrow.ops.lookup_rows.op import lookup_rows
from sparrow.ops.overlap_rows.op import overlap_rows
from sparrow.ops.subtract_rows.op import subtract_rows

torch.set_num_threads(int(sys.stdin.read()))
generator = torch.Generator().manual_seed(2)
columns = []
for longest in (3, 40, 40, 500):
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, longest, (1500,), generator=generator).cumsum(0)])
    columns.append((torch.randint(0, 2 * longest, (int(offsets[-1]),), generator=generator), offsets))
columns += columns[::-1]
values, offsets = map(list, zip(*columns))
weights = [torch.rand(one.numel(), generator=generator) for one in values]
a, b, pairs = (values[::2], offsets[::2]), (values[1::2], offsets[1::2]), torch.arange(0, 9, 2)
made = [*cross_rows(values, weights, offsets, pairs), *concat_rows(values, weights, offsets, pairs)]
made.append(lookup_rows(*a, *b, [values[0][:0]] * 4, torch.tensor([[1, 0], [2, 0]] * 2)))
for kind in range(6):
    made.append(overlap_rows(*a, *b, torch.full((4,), kind)))
made.append(subtract_rows(*a, [torch.rand(1500, generator=generator)] * 4, [values[0][:0]] * 4, torch.ones(4, dtype=torch.int64)))
digest = hashlib.sha256()
for tensors in made:
    for tensor in tensors:
        digest.update(tensor.numpy().tobytes())
print(digest.hexdigest(), made[0][0].numel())
"""


def test_every_instruction_set_combines_rows_alike() -> None:
    names = ["baseline", "avx2", "avx512"]
    expected = run_python(_ROWS, stdin="1", SPARROW_ISA="baseline")
    assert int(expected.split()[1]) > 10_000
    for name in names[: names.index(library.instruction_set()) + 1]:
        for threads in ("1", "2"):
            assert run_python(_ROWS, stdin=threads, SPARROW_ISA=name) == expected, f"{name}, {threads} threads"


# Every step of map_values over special, tiny and huge values, and strings of every class of length; prints a digest of outputs and counts.
_MAP = """
import hashlib, math, sys, torch
from sparrow.ops.map_values.op import map_values
from sparrow.ops.map_values.steps import *

torch.set_num_threads(int(sys.stdin.read()))
generator = torch.Generator().manual_seed(2)
single = torch.randint(-2**31, 2**31, (40_000,), generator=generator, dtype=torch.int32).view(torch.float32)
double = torch.randint(-2**63, 2**63 - 1, (40_000,), generator=generator).view(torch.float64)
ids = torch.randint(-2**63, 2**63 - 1, (40_000,), generator=generator)
lengths = torch.cat([torch.randint(0, most, (10_000,), generator=generator) for most in (4, 17, 33, 90)])
offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
text = torch.randint(0, 256, (int(offsets[-1]),), generator=generator, dtype=torch.uint8)
boundaries = tuple(x / 9 for x in range(-40, 40))
numbers = [(Log(),), (Log1p(), ZScore(0.3, 1.7), Clip(-2.0, 2.0)), (MinMax(-3.0, 11.0), Finite()), (Bucketize(boundaries),),
           (Cast("float32"),), (Finite("replace", 0.25), Cast("int64")), (Fill(1.5), Log(), Bucketize(boundaries), Mod(7))]
integers = [(Mod(divisor),) for divisor in (1, 3, 1_000_003, 2**40 + 5, 2**63 - 1)]
integers += [(Quotient(divisor),) for divisor in (1, 3, 2**52 + 1)]
integers += [(HashInts(name),) for name in ("farm", "murmur", "xxh64")] + [(MultiHash(-3, 46997, 1000),), (Log1p(),), (Cast("float32"),)]
chains = [Chain(place, steps=steps) for place in (0, 1) for steps in numbers] + [Chain(2, steps=steps) for steps in integers]
chains += [Chain(3, 0, Source.BYTES, (HashBytes(name),)) for name in ("farm", "murmur", "xxh64")]
values = [single, double, ids, text]
outputs, counts = map_values(values, [offsets], pack(chains, [value.dtype for value in values]))
digest = hashlib.sha256(counts.numpy().tobytes())
for output in outputs:
    if output.is_floating_point():
        digest.update(output.isnan().numpy().tobytes())
        output = torch.where(output.isnan(), 0.0, output)  # the payload of NaN is nobody's promise
    digest.update(output.numpy().tobytes())
print(digest.hexdigest(), len(chains))
"""


def test_every_instruction_set_maps_values_to_the_same_bits() -> None:
    names = ["baseline", "avx2", "avx512"]
    expected = run_python(_MAP, stdin="1", SPARROW_ISA="baseline")
    assert int(expected.split()[1]) > 25
    for name in names[: names.index(library.instruction_set()) + 1]:
        for threads in ("1", "2"):
            assert run_python(_MAP, stdin=threads, SPARROW_ISA=name) == expected, f"{name}, {threads} threads"


# Blocks whose ids are all small, and blocks where one is not, beside Python's integers; at the ends of what float64 holds.
_DIVIDED = """
import torch
from sparrow.ops.map_values.op import map_values
from sparrow.ops.map_values.steps import Chain, Mod, Quotient, pack
generator = torch.Generator().manual_seed(3)
for divisor in (1, 2, 3, 7, 1_000_003, 2**31 - 1, 2**50 + 1, 2**51 - 1, 2**51, 2**53 + 1, 2**62 + 1, 2**63 - 1):
    near = [k * divisor + offset for k in (0, 1, 2, 3, 1000, 2**51 // divisor - 1, 2**51 // divisor) for offset in (-1, 0, 1)]
    small = [id for id in [*near, *range(2**51 - 40, 2**51), *range(40)] if 0 <= id < 2**51]
    small += torch.randint(0, 2**51, (1024,), generator=generator).tolist()
    for ids in (small, [*small, 2**51], [*small, -1], [-1, -2, -divisor, 2**63 - 1]):
        values = torch.tensor(ids)
        chains = [Chain(0, steps=(step(divisor),)) for step in (Mod, Quotient)]
        (rest, quotient), _ = map_values([values], [], pack(chains, [torch.int64]))
        assert rest.tolist() == [id % 2**64 % divisor for id in ids], divisor
        assert [one % 2**64 for one in quotient.tolist()] == [id % 2**64 // divisor for id in ids], divisor
# So many that ids are written past the caches.
many = torch.arange(2**23 + 5) * 77 - 2**40
(rest, both), _ = map_values([many], [], pack([Chain(0, steps=(Mod(1000),)), Chain(0, steps=(Quotient(3), Mod(7)))], [torch.int64]))
for place in [*range(0, 2**23, 997), 2**23 + 4]:
    id = int(many[place]) % 2**64
    assert (int(rest[place]), int(both[place])) == (id % 1000, id // 3 % 7)
"""


def test_remainders_and_quotients_are_exact_in_every_instruction_set() -> None:
    names = ["baseline", "avx2", "avx512"]
    for name in names[: names.index(library.instruction_set()) + 1]:
        run_python(_DIVIDED, SPARROW_ISA=name)

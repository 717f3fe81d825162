"""Every instruction set and number of threads gives the same bits of a training run, of columns combined by row, and of mapped values."""

import functools
import json

import pytest

from sparrow.ops import library
from tests_support import run_python

# Each leaves in `answer` a digest of what it made, and how much that was.
# Inserts enough ids to be divided among threads, erases some, pools and updates by several rules; digests all state.
_RUN = """
import hashlib, torch
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.optim import SparseOptimizer
from sparrow.tables import Normal, TruncatedNormal
from sparrow.types import Batch, Ragged

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
answer = digest.hexdigest(), group.num_rows
"""


# Lists around the lengths at which vectors and tables take over. Digests what every operator on rows of several columns makes.
_ROWS = """
import hashlib, torch
from sparrow.ops.concat_rows.op import concat_rows
from sparrow.ops.cross_rows.op import cross_rows
from sparrow.ops.lookup_rows.op import lookup_rows
from sparrow.ops.overlap_rows.op import overlap_rows
from sparrow.ops.subtract_rows.op import subtract_rows

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
answer = digest.hexdigest(), made[0][0].numel()
"""


# Every step of map_values over special, tiny and huge values, and strings of every class of length; digests outputs and counts.
_MAP = """
import hashlib, torch
from sparrow.ops.map_values.op import map_values
from sparrow.ops.map_values.steps import *

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
answer = digest.hexdigest(), len(chains)
"""

SCRIPTS = {"training": (_RUN, [1, 2, 4], 50_000), "rows": (_ROWS, [1, 2], 10_000), "values": (_MAP, [1, 2], 25)}

_ALL = """
import json, sys, torch
answers = []
for script, threads in json.load(sys.stdin):
    torch.set_num_threads(threads)
    scope = {}
    exec(script, scope)
    answers.append(scope["answer"])
print(json.dumps(answers))
"""


@functools.cache
def answers_of(instruction_set: str) -> dict[tuple[str, int], tuple[str, int]]:
    """Return (digest, how much) by script and number of threads, of one process for them all."""
    asked = [(name, threads) for name, (_, many, _) in SCRIPTS.items() for threads in many]
    printed = run_python(_ALL, stdin=json.dumps([(SCRIPTS[name][0], threads) for name, threads in asked]), SPARROW_ISA=instruction_set)
    return {key: tuple(answer) for key, answer in zip(asked, json.loads(printed), strict=True)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_instruction_set_and_number_of_threads_gives_the_same_bits(name: str) -> None:
    known = ["baseline", "avx2", "avx512"]
    _, many, least = SCRIPTS[name]
    expected = answers_of("baseline")[name, 1]
    assert expected[1] > least
    for instruction_set in known[: known.index(library.instruction_set()) + 1]:
        for threads in many:
            assert answers_of(instruction_set)[name, threads] == expected, f"{instruction_set}, {threads} threads"

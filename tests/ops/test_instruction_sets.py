"""Every instruction set and number of threads gives the same bits: one training run in a process each."""

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

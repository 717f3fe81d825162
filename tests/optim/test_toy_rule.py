"""Adding an optimizer as CONTRIBUTING says: a header, a reference, Triton functions, a row. Done with a toy, on a copy of what it edits."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from tests_support import run_python

ROOT = Path(__file__).parents[2]

# Moves every weight by lr against the sign of its gradient, and counts the updates of the row.
HEADER = """
#pragma once
#include <cstdint>
#include "core/rules/hyper.h"
namespace sparrow {
template <typename T>
struct SignSgd {
  static constexpr int kElementSlots = 0, kRowSlots = 1;
  T lr;
  explicit SignSgd(const double* hyper) : lr(static_cast<T>(hyper[0])) {}
  void update(T* __restrict__ weight, T*, T* __restrict__ count, const T* __restrict__ grad, int64_t dim) const {
    count[0] = count[0] + T(1);
    for (int64_t k = 0; k < dim; ++k) weight[k] = weight[k] - lr * static_cast<T>((grad[k] > T(0)) - (grad[k] < T(0)));
  }
};
}  // namespace sparrow
"""

# The row of the table, the reference, and a model trained by the rule, C++ beside reference.
SCRIPT = """
import torch
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.ops.update_rows import reference, rules
from sparrow.optim import SparseOptimizer
from sparrow.tables import Constant
from sparrow.types import Batch

def sign_sgd(weight, slots, row_slots, grad, hyper):
    lr = torch.tensor(hyper[0], dtype=torch.float64).to(weight.dtype)
    row_slots += 1
    weight.copy_(weight - lr * grad.sign())

rules.RULES["sign_sgd"] = rules.Rule("sign_sgd", len(reference.RULE_FUNCTIONS), {"lr": 0.1}, row_slots=("count",))
reference.RULE_FUNCTIONS.append(sign_sgd)

engine = EmbeddingEngine({"f": EmbeddingOption(dim=3, rule="sign_sgd", initializer=Constant(1.0))})
optimizer = SparseOptimizer(engine, lr=0.25)
for _ in range(2):
    (engine(Batch.of({"f": torch.tensor([7, 8, 7])}))["f"] * torch.tensor([1.0, -2.0, 0.0])).sum().backward()
    optimizer.step()
chunk = next(iter(engine.groups[0].export()))
assert chunk.weights.tolist() == [[0.5, 1.5, 1.0]] * 2, chunk.weights
assert chunk.slots["count"].tolist() == [2.0, 2.0]

rule = rules.RULES["sign_sgd"]
hyper = torch.tensor([rule.hyper_row(step=1)], dtype=torch.float64)
states = [([torch.arange(8.0).reshape(4, 2)], [], [torch.zeros(4, 1)], torch.zeros(4, 4, dtype=torch.int32)) for _ in range(2)]
grads, rows = torch.tensor([[1.5, -1.0], [0.0, 2.0]]), torch.tensor([3, 1], dtype=torch.int32)
for body, state in zip((torch.ops.sparrow.update_rows_.default, reference.update_rows_), states):
    body(*state, rows, grads, hyper, rule.code, 5)
assert all(torch.equal(one, two) for ones, twos in zip(states[0][:3], states[1][:3]) for one, two in zip(ones, twos))
print("ok")
"""

# The Triton functions, and their row, beside the reference. Triton reads the source of its functions, so they are a file.
TRITON_SCRIPT = """
import torch
import triton
import triton.language as tl
from sparrow.ops.update_rows import reference, rules
from sparrow.ops.update_rows.triton import update_rows_
from sparrow.ops.update_rows.triton_rules import TRITON_RULES, TritonRule, constant, word

@triton.jit
def sign_sgd_constants(hyper, mask):
    return (word(hyper, 0, mask),)

@triton.jit
def sign_sgd(weight, slot0, slot1, row_slot, grad, c, DIM: tl.constexpr):
    sign = tl.where(grad > 0, 1.0, tl.where(grad < 0, -1.0, 0.0))
    return weight - constant(c, 0) * sign, slot0, slot1, row_slot + 1.0

def by_reference(weight, slots, row_slots, grad, hyper):
    row_slots += 1
    weight.copy_(weight - torch.tensor(hyper[0], dtype=torch.float64).to(weight.dtype) * grad.sign())

rule = rules.RULES["sign_sgd"] = rules.Rule("sign_sgd", len(TRITON_RULES), {"lr": 0.1}, row_slots=("count",))
reference.RULE_FUNCTIONS.append(by_reference)
TRITON_RULES.append(TritonRule(sign_sgd_constants, 1, sign_sgd))

hyper = torch.tensor([rule.hyper_row(step=1)], dtype=torch.float64)
states = [([torch.arange(8.0).reshape(4, 2)], [], [torch.zeros(4, 1)], torch.zeros(4, 4, dtype=torch.int32)) for _ in range(2)]
grads, rows = torch.tensor([[1.5, -1.0], [0.0, 2.0]]), torch.tensor([3, 1], dtype=torch.int32)
for body, state in zip((update_rows_, reference.update_rows_), states):
    body(*state, rows, grads, hyper, rule.code, 5)
assert all(torch.equal(one, two) for ones, twos in zip(states[0][:3], states[1][:3]) for one, two in zip(ones, twos))
assert states[0][2][0].flatten().tolist() == [0.0, 1.0, 0.0, 1.0]
print("ok")
"""


def test_a_rule_is_two_triton_functions_too(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="triton is not installed: its body cannot run")
    (tmp_path / "sign_sgd.py").write_text(TRITON_SCRIPT)
    assert run_python("import sign_sgd", PYTHONPATH=str(tmp_path), TRITON_INTERPRET="1").strip() == "ok"


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_a_rule_is_a_header_a_reference_and_a_row(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    (tmp_path / "csrc" / "core" / "rules" / "sign_sgd.h").write_text(HEADER)
    every = tmp_path / "csrc" / "core" / "rules" / "all.h"
    text = every.read_text().replace("#pragma once", '#pragma once\n#include "core/rules/sign_sgd.h"')
    assert text.count("AsyncRmsprop>;") == 1
    every.write_text(text.replace("AsyncRmsprop>;", "AsyncRmsprop, SignSgd>;"))
    torch_folder = Path(torch.__file__).parent
    # Without optimization the compiler is soon done; every operator comes from the copy, so that one library serves.
    sources = [str(path) for path in sorted((tmp_path / "csrc" / "ops").glob("*.cpp"))]
    library = tmp_path / "libtoy.so"
    command = ["c++", "-std=c++20", "-O0", "-fPIC", "-shared", "-ffp-contract=off", "-DTORCH_TARGET_VERSION=0x020a000000000000"]
    command += [f"-I{tmp_path / 'csrc'}", "-isystem", str(torch_folder / "include"), *sources, "-o", str(library)]
    command += [str(torch_folder / "lib" / "libtorch_cpu.so")]
    compiled = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert compiled.returncode == 0, compiled.stderr[-2000:]
    assert run_python(SCRIPT, SPARROW_OPS_LIBRARY=str(library)).strip() == "ok"

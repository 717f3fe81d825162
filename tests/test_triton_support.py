"""What runs Triton bodies in tests: it says that a required GPU is missing, and catches a body that waits for the device."""

import pytest
import torch

from triton_process import compile_calls_of
from triton_support import interpreted, run_triton, triton_body


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_gpu_fails_where_one_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARROW_REQUIRE_CUDA", "1")
    for run in (lambda: run_triton("gather_pool", []), lambda: interpreted("pad_rows", []), triton_body("find")):
        with pytest.raises(pytest.fail.Exception, match="SPARROW_REQUIRE_CUDA is set and torch finds no CUDA device"):
            run()


@pytest.mark.parametrize("looks", [lambda x: x.sum().item(), lambda x: int(x[0]), lambda x: x.tolist(), lambda x: x[x > 0], torch.nonzero])
def test_a_body_that_looks_at_values_is_caught(looks: object) -> None:
    pytest.importorskip("triton", reason="triton is not installed: nothing records its launches")
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        compile_calls_of(looks, [[torch.ones(3)]], ())  # type: ignore[arg-type]

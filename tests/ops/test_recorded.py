"""What a step that a graph repeats tells its kernels, and what it hears of them, by hand: the CPU serves as the device."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from sparrow.errors import BackendError, DataError
from sparrow.ops import recorded
from sparrow.ops.recorded import RecordedStep, send_words

DEVICE = torch.device("cpu")


def taken(step: RecordedStep, *tables: list[int], capturing: bool) -> list[Tensor]:
    with step.active(capturing=capturing):
        assert recorded.current() is step
        return [send_words(words, DEVICE) for words in tables]


def test_words_of_the_capture_are_sent_when_it_is_over_and_those_before_at_once() -> None:
    step = RecordedStep()
    first, second = taken(step, [1, 2, 3], [4], capturing=False)
    assert (first.tolist(), second.tolist()) == ([1, 2, 3], [4])
    with step.active(capturing=True):
        first, second = send_words([5, 6, 7], DEVICE), send_words([8], DEVICE)
        assert first.tolist() == [0, 0, 0], "nothing is copied while a graph is captured"
    assert (first.tolist(), second.tolist()) == ([5, 6, 7], [8])
    # In memory of one tensor, at multiples of 16 bytes, as tensors of their own are.
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
    assert second.storage_offset() % 2 == 0
    assert recorded.current() is None
    assert send_words([9], DEVICE).tolist() == [9]


@pytest.mark.parametrize("tables", [([1, 2], [3]), ([1, 2, 3],), ([1, 2], [3, 4], [5])])
def test_a_capture_that_tells_something_else_is_refused(tables: tuple[list[int], ...]) -> None:
    step = RecordedStep()
    taken(step, [1, 2], [3, 4], capturing=False)
    with pytest.raises(BackendError, match="must do the same each time"):
        taken(step, *tables, capturing=True)
    assert recorded.current() is None


def test_other_threads_take_no_part() -> None:
    step, told = RecordedStep(), []
    taken(step, [1, 2], capturing=False)

    def send() -> None:
        told.append((recorded.current(), send_words([5], DEVICE).tolist()))
        recorded.keep(kept)

    kept = torch.ones(1)
    with step.active(capturing=True):
        thread = threading.Thread(target=send)
        thread.start()
        thread.join()
        mine = send_words([3, 4], DEVICE)
    assert told == [(None, [5])]
    assert mine.tolist() == [3, 4]
    # But for what a backward pass holds, which has threads of its own.
    assert step.kept == [kept]


def test_flags_are_told_when_they_change_and_by_the_name_that_was_in_force() -> None:
    step, said = RecordedStep(), []

    def look(flags: list[int]) -> Exception | None:
        said.append(flags)
        return RuntimeError(f"flags {flags}") if flags[1] > 7 else None

    def take() -> tuple[Tensor | None, Tensor | None]:
        with step.naming(lambda error: DataError(f"feature 'x': {error}")):
            watched = step.flags(2, 7, DEVICE, look)
        return watched, step.flags(1, 0, DEVICE)

    with step.active(capturing=False):
        assert take() == (None, None), "the host looks for itself where it may"
    assert step.watched() == []
    with step.active(capturing=True):
        watched, counted = take()
    assert watched is not None
    assert counted is not None
    assert (watched.tolist(), counted.tolist()) == ([7, 7], [0])
    step.check(step.watched())
    counted += 1  # nobody is asked of it
    step.check(step.watched())
    assert said == []
    watched[0] = 3
    step.check(step.watched())
    assert said == [[3, 7]]
    watched[1] += 1
    with pytest.raises(DataError, match=r"feature 'x': flags \[3, 8\]"):
        step.check(step.watched())
    step.check(step.watched())
    assert said == [[3, 7], [3, 8]], "what was told once is not told again"


def test_a_capture_that_fails_sends_nothing() -> None:
    step = RecordedStep()
    taken(step, [1, 2], capturing=False)

    def fail() -> None:
        with step.active(capturing=True):
            told.append(send_words([3, 4], DEVICE))
            raise KeyError

    told: list[Tensor] = []
    with pytest.raises(KeyError):
        fail()
    assert told[0].tolist() == [0, 0]
    assert recorded.current() is None

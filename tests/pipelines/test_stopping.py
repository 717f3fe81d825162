"""Signals become a request inside a fit, and are what they were outside it."""

import os
import signal
import threading

import pytest

from pipelines.memory import MemoryDataset, linear, rows
from sparrow.pipelines import Hook, Trainer
from sparrow.pipelines.stopping import StopRequest


@pytest.fixture(autouse=True)
def _handlers_as_before():
    # In the background a shell has processes ignore SIGINT, and Python then installs no handler.
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before
    signal.signal(signal.SIGINT, outside)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number):
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        assert stop.signal_name == number.name


def test_the_second_signal_acts_as_if_nothing_were_installed():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_another_thread_installs_nothing():
    found = []

    def work():
        with StopRequest():
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


class SignalAt(Hook):
    def __init__(self, step):
        self.step = step

    def after_step(self, trainer):
        if trainer.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_fit_returns_after_the_step_in_progress():
    train = MemoryDataset(*rows())
    summary = Trainer(*linear(), hooks=[SignalAt(3)], progress=False).fit(train, evaluate_on=MemoryDataset(*rows()))
    assert (summary["stopped"], summary["step"], summary["eval"]) == (True, 3, None)
    assert train.state_dict() == {"epoch": 0, "row": 24}


def test_a_stop_during_the_evaluation_leaves_the_data_where_it_was(tmp_path):
    class StopsWhenRead(MemoryDataset):
        def __iter__(self):
            for index, batch in enumerate(super().__iter__()):
                if index == 2:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

    test = StopsWhenRead(*rows())
    trainer = Trainer(*linear(), progress=False, run_folder=tmp_path)
    summary = trainer.fit(MemoryDataset(*rows()), evaluate_on=test)
    assert (summary["stopped"], summary["step"], summary["eval"]) == (True, 5, None)
    assert test.state_dict() == {"epoch": 0, "row": 0}

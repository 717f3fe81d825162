"""A full or read-only disk: one line names the folder and the fix, nothing half-written is left, and what was saved is still there."""

import errno
import os
import warnings

import pytest

from saver.dict_store import check_whole, new_dense, new_state, new_stores, save
from sparrow.errors import CheckpointError
from sparrow.saver import Saver


def fail_at(monkeypatch, target, call, number):
    """Make the `call`-th call of `os.<target>` from now on fail, once; return the list that records its calls."""
    calls = []
    real = getattr(os, target)

    def failing(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, target, failing)
    return calls


@pytest.mark.parametrize("target", ["fsync", "mkdir", "rename"])
@pytest.mark.parametrize("is_replacing", [False, True])
def test_a_failure_of_any_call_leaves_what_was(tmp_path, monkeypatch, target, is_replacing):
    def attempt(folder, call):
        """Save step 1, then save again and fail at `call`. Return the calls made and whether the second save gave up."""
        save(folder, 1)
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            calls = fail_at(patch, target, call, errno.ENOSPC)
            error = None
            try:
                save(folder, 1 if is_replacing else 2)
            except CheckpointError as caught:
                error = str(caught)
        assert error is None or (str(folder) in error and "the disk is full; free space" in error)
        return calls, error is not None

    calls, gave_up = attempt(tmp_path / "whole", call=0)
    assert calls
    assert not gave_up
    num_given_up = 0
    for call in range(1, len(calls) + 1):
        folder = tmp_path / str(call)
        _, gave_up = attempt(folder, call)
        num_given_up += gave_up
        # The last flush of the folder comes after the new name was given: then both are there, and both are whole.
        assert {path.name for path in folder.iterdir()} <= {"step-00000001", "step-00000002", "step-00000001.replaced"}
        steps = [check_whole(path) for path in Saver(folder).checkpoints()]
        assert steps[0] == 1
        assert gave_up or steps[-1] == (1 if is_replacing else 2)
    assert num_given_up


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EROFS, "read-only; choose a folder"),
        (errno.EACCES, "may not be written"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "check the folder"),
    ],
)
def test_every_reason_has_its_advice(tmp_path, monkeypatch, number, advice):
    save(tmp_path, 1)
    fail_at(monkeypatch, "mkdir", 2, number)
    with pytest.raises(CheckpointError, match=advice):
        save(tmp_path, 2)
    assert check_whole(Saver(tmp_path).latest()) == 1


def test_a_read_only_folder_is_named(tmp_path, forks):
    folder = tmp_path / "run"
    save(folder, 1)
    folder.chmod(0o555)
    try:
        # Root may write anywhere, so the child stops being root, inside the folder: the way to it may be closed to others.
        lines = forks.run(
            f"import os\nos.chdir({str(folder)!r})\nif os.getuid() == 0:\n    os.setuid(65534)\n"
            f"import saver.dict_store\nassert not os.access('.', os.W_OK), 'still writable'\nsaver.dict_store.save('.', 2)"
        )
        if any("still writable" in line or "Operation not permitted" in line for line in lines):
            pytest.skip("here root cannot become another user, and may write into read-only folders; only the simulated EROFS ran")
        assert any("CheckpointError" in line and "may not be written" in line for line in lines), lines
        assert [path.name for path in folder.iterdir()] == ["step-00000001"]
        assert check_whole(Saver(folder).latest()) == 1
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="choose another folder"):
        save(tmp_path / "file" / below, 1)


@pytest.mark.parametrize("limit_bytes", [0, 100, 500])
def test_a_real_limit_of_the_system_is_reported(tmp_path, forks, limit_bytes):
    save(tmp_path, 1)
    lines = forks.run(
        f"import resource, saver.dict_store\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))\n"
        f"saver.dict_store.save({str(tmp_path)!r}, 2)"
    )
    assert any("CheckpointError" in line and "size limit" in line and str(tmp_path) in line for line in lines), lines
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert check_whole(Saver(tmp_path).latest()) == 1


def test_an_older_checkpoint_that_cannot_be_removed_is_a_warning(tmp_path, monkeypatch):
    save(tmp_path, 1)
    fail_at(monkeypatch, "rename", 2, errno.EACCES)
    with pytest.warns(RuntimeWarning, match="step-00000002 was saved, but an older checkpoint could not be removed"):
        save(tmp_path, 2, keep=1)
    assert [check_whole(path) for path in Saver(tmp_path).checkpoints()] == [1, 2]


def test_an_interrupted_save_leaves_nothing(tmp_path):
    class Interrupted(type(new_stores()["group"])):
        def export(self, *args):
            yield next(super().export())
            raise KeyboardInterrupt

    stores = new_stores(2)
    stores["group"] = Interrupted(stores["group"].tables)
    save(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        Saver(tmp_path).save(2, stores, new_dense(2), new_state(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]

"""kill -9 in a real process, at chosen calls of a save and at random moments: every visible checkpoint is whole."""

import os
import random
import re
import signal

from saver.dict_store import check_whole, save
from sparrow.saver import Saver

# Every call that changes the disk counts before and after; a write before each of its two halves. At `die_at` the process kills itself.
COUNTING = """
import builtins, os, signal
calls = []
def tick(name):
    calls.append(name)
    if len(calls) == {die_at}:
        os.kill(os.getpid(), signal.SIGKILL)
def counted(name, call):
    def around(*args, **kwargs):
        tick(name)
        result = call(*args, **kwargs)
        tick(name)
        return result
    return around
for name in ("mkdir", "rename", "fsync", "unlink", "rmdir"):
    setattr(os, name, counted(name, getattr(os, name)))
class Halved:
    def __init__(self, file):
        self.file = file
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.file.close()
    def __getattr__(self, name):
        return getattr(self.file, name)
    def write(self, content):
        for part in (content[:len(content) // 2], content[len(content) // 2:]):
            tick("write")
            self.file.write(part)
            self.file.flush()
real_open = builtins.open
def open_halved(path, mode="r", *args, **kwargs):
    file = real_open(path, mode, *args, **kwargs)
    return Halved(file) if "x" in mode else file
builtins.open = open_halved
from saver.dict_store import save
for step in {steps}:
    os.write(1, b"saving %d\\n" % step)
    save({folder!r}, step, keep={keep})
    os.write(1, b"saved %d\\n" % step)
os.write(1, ("calls " + " ".join(calls) + chr(10)).encode())
"""


def last_saved(lines):
    steps = [int(match[1]) for line in lines if (match := re.match(r"saved (\d+)", line))]
    return steps[-1] if steps else 0


def check_folder(folder, lines):
    """What is visible is whole, and what was reported as saved is there."""
    steps = [check_whole(path) for path in Saver(folder).checkpoints()]
    assert steps == sorted(steps)
    assert (steps or [0])[-1] >= last_saved(lines), lines


def test_killed_at_calls_of_a_save(forks, tmp_path):
    # Step 2 is saved twice, so that it is replaced; step 3 removes step 1.
    script = {"steps": [1, 2, 2, 3], "keep": 2}
    lines = forks.run(COUNTING.format(die_at=-1, folder=str(tmp_path / "whole"), **script))
    assert lines[-1] == "ended 0", lines
    calls = next(line for line in lines if line.startswith("calls ")).split()[1:]
    assert calls.count("rename") == 2 * (4 + 1 + 1 + 1)
    # Before and after every rename: those publish, push aside and remove. Of the other calls, some.
    renames = {point for point, name in enumerate(calls, 1) if name == "rename"}
    points = renames | set(random.Random(7).sample(range(1, len(calls) + 1), 16))
    for die_at in sorted(points):
        folder = tmp_path / str(die_at)
        lines = forks.run(COUNTING.format(die_at=die_at, folder=str(folder), **script))
        assert lines[-1] == f"ended {-signal.SIGKILL}", (die_at, lines)
        check_folder(folder, lines)
        # The next save clears what was left behind.
        before = {path.name for path in Saver(folder).checkpoints()}
        save(folder, 9, keep=9)
        assert {path.name for path in folder.iterdir()} == {name.removesuffix(".replaced") for name in before} | {"step-00000009"}
        check_folder(folder, ["saved 9"])


def test_killed_from_outside_at_random_moments(forks, tmp_path):
    code = f"""
import os
from saver.dict_store import save
for step in range(1, 1000):
    save({str(tmp_path)!r}, step, keep=2)
    os.write(1, b"saved %d\\n" % step)
"""
    chance = random.Random(11)
    for _ in range(8):
        lines, child, wanted = [], None, chance.randint(1, 6)
        for line in forks.start(code):
            lines.append(line)
            if line.startswith("child "):
                child = int(line.split()[1])
            if child and last_saved(lines) >= wanted:
                os.kill(child, signal.SIGKILL)
                child = None
        assert lines[-1] == f"ended {-signal.SIGKILL}"
        check_folder(tmp_path, lines)
        # What one kill left behind, the next round's saves clear: it does not pile up.
        assert sum(".tmp-" in path.name for path in tmp_path.iterdir()) <= 2

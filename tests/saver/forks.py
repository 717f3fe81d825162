"""Real child processes that are cheap: a fresh interpreter imports torch once, then forks for every piece of code it is sent."""

import os
import subprocess
import sys
from pathlib import Path

_SERVER = """
import os, sys
import torch, sparrow.saver, saver.dict_store
os.fsync = os.fstat  # kill -9 loses nothing that was written, flushed or not
torch.set_num_threads(1)
while code := sys.stdin.buffer.readline():
    child = os.fork()
    if child == 0:
        try:
            exec(eval(code), {})
            os._exit(0)
        except BaseException as error:
            os.write(1, ("raised " + repr(error).replace(chr(10), " ") + chr(10)).encode())
            os._exit(1)
    os.write(1, f"child {child}\\n".encode())
    _, status = os.waitpid(child, 0)
    os.write(1, f"ended {os.waitstatus_to_exitcode(status)}\\n".encode())
"""


class Forks:
    """Runs code in children, one at a time."""

    def __init__(self):
        paths = [str(Path(__file__).parents[1]), *sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def start(self, code):
        """Yield what the child writes to file descriptor 1, line by line; the last line is `ended STATUS`, one is `child PID`."""
        self._server.stdin.write(repr(code).encode() + b"\n")
        self._server.stdin.flush()
        for line in self._server.stdout:
            yield line.decode().strip()
            if line.startswith(b"ended "):
                return
        raise AssertionError("the server of forks died")

    def run(self, code):
        return list(self.start(code))

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

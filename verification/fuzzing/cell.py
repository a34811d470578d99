"""A cell: a forked process in which a reader meets what was damaged, and is watched.

It has some seconds and some memory, may write below its own folder only, and ends at once when it runs a program or
code of others, unpickles what it did not pickle itself, or speaks to another machine.
"""

import faulthandler
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

SECONDS = 20
MEMORY_BYTES = 4 << 30
"""More than it had when it began."""
FILE_BYTES = 1 << 28
MARK = "canary_of_the_fuzz"
"""Stands in all code that is planted, so that it is known where it runs."""

_LONGEST_ANSWER = 60_000  # which a pipe takes at once
_PROGRAMS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn", "subprocess.Popen"}
_PATHS = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1, "os.chmod": 1, "os.chown": 1} | {
    **{"os.rename": 2, "os.link": 2, "shutil.rmtree": 1, "shutil.move": 2, "os.utime": 1}
}
"""How many of the event's first arguments are paths that are changed."""
_OWN_PICKLES = ("distributed_c10d.py", "multiprocessing")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Answer(NamedTuple):
    """How a cell ended: what the work `returned`, for JSON; or why it did not return, in words, in `died`."""

    returned: Any
    died: str = ""


def confined(work: Callable[[], Any], box: Path, seconds: int = SECONDS) -> Answer:
    """Does some work in a cell and returns what it returned, which must be JSON.

    Args:
        work: is done with stdout and stderr going to the files of these names in the box.
        box: the folder below which it may write, and in which its temporary files are.
        seconds: until it is ended.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _live(work, box, writing, seconds)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it left running
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read(_LONGEST_ANSWER)
    return _answer(status, text, seconds)


def said(box: Path) -> str:
    """What has been written to stderr in this cell."""
    sys.stderr.flush()
    return (box / "stderr").read_text(encoding="utf-8", errors="backslashreplace")


def _answer(status: int, text: bytes, seconds: int) -> Answer:
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        return Answer(None, f"hung for {seconds} s" if number == signal.SIGALRM else f"died of {number.name}")
    if not text:
        return Answer(None, f"ended the process with exit code {os.WEXITSTATUS(status)}")
    return Answer(*json.loads(text))


def _live(work: Callable[[], Any], box: Path, writing: int, seconds: int) -> None:
    """The life of the forked process, which ends here."""

    def end(answer: Answer) -> None:
        os.write(writing, json.dumps(answer).encode()[:_LONGEST_ANSWER])
        os._exit(0)

    os.setpgid(0, 0)
    faulthandler.disable()
    _limit(seconds)
    _redirect(box)
    sys.dont_write_bytecode = True
    sys.addaudithook(_Watch(box, lambda what: end(Answer(None, what[:1_000]))))
    try:
        end(Answer(work()))
    except BaseException as error:
        end(Answer(None, _told(error)[:1_000]))


def _limit(seconds: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + MEMORY_BYTES,
        resource.RLIMIT_FSIZE: FILE_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))


def _redirect(box: Path) -> None:
    for number, name in ((0, os.devnull), (1, box / "stdout"), (2, box / "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    tempfile.tempdir = str(box / "temporary")
    Path(tempfile.tempdir).mkdir()
    os.chdir(box)  # so that names relative to a folder that is open count as inside


def _told(error: BaseException) -> str:
    """An error that should have been one line for the user: its type, its words and where it was raised."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {error}{where}"


class _Watch:
    """An audit hook that tells `end` of what nothing that only reads may do."""

    def __init__(self, box: Path, end: Callable[[str], None]) -> None:
        self.box, self.end = os.path.realpath(box), end

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _PROGRAMS:
            self.end(f"ran a program: {event} {arguments!r}")
        elif event == "pickle.find_class" and not _is_own(sys._getframe(1)):
            self.end(f"unpickled: {arguments!r}")
        elif event == "exec" and self._is_foreign(arguments[0]):
            self.end(f"ran code: {arguments[0]!r}")
        elif event == "socket.connect" and str(arguments[1][0]) != "127.0.0.1":
            self.end(f"spoke to {arguments[1]!r}")
        elif event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & _WRITES:
            self._check(event, os.path.realpath(os.fsdecode(arguments[0])))
        elif event in _PATHS:
            for path in arguments[: _PATHS[event]]:
                folder, name = os.path.split(os.fsdecode(path))
                self._check(event, f"{os.path.realpath(folder)}/{name}")

    def _check(self, event: str, path: str) -> None:
        if not path.startswith((self.box + os.sep, "/dev/")):
            self.end(f"wrote outside its folder: {event} {path}")

    def _is_foreign(self, code: Any) -> bool:
        if not isinstance(code, CodeType):
            return True
        return code.co_filename.startswith(self.box) or MARK in str((code.co_names, code.co_consts))


def _is_own(frame: FrameType | None) -> bool:
    """Whether what is unpickled was pickled by this process or its fellows, and not by a file."""
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in _OWN_PICKLES):
            return True
        frame = frame.f_back
    return False

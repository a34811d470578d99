"""Writes checkpoints: beside the training, from copies of the tensors, or while it waits."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Self

import torch.distributed as dist

from d2plm_megatron import console
from d2plm_megatron.checkpoint.tensors import Write
from d2plm_megatron.files import remove
from d2plm_megatron.parallel.agreement import failing_together
from d2plm_megatron.parallel.processes import use
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.training import checkpointing
from d2plm_megatron.training.engine import Engine


class Saver:
    """Writes one checkpoint at a time; the next one waits for the one before.

    Use as a context manager: the block ends when the last checkpoint is whole.

    Args:
        engine: whose tensors are written.
        folder: of the run.
        in_background: training goes on meanwhile; costs a copy of what is written, in the memory of the CPU.
        keep_last: checkpoints kept, beside the best.
    """

    def __init__(self, engine: Engine, folder: RunFolder, in_background: bool, keep_last: int) -> None:
        self.engine, self.folder = engine, folder
        self.in_background, self.keep_last = in_background, keep_last
        timeout = timedelta(seconds=engine.recipe.parallel.timeout_s)
        self._group = dist.new_group(backend="gloo", timeout=timeout)  # of its own, as the training talks too
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:  # else others may have gone, and would be waited for in vain
            self.wait()
            dist.destroy_process_group(self._group)

    def save(self, checkpoint: Checkpoint, is_best: bool) -> None:
        """Writes the engine as it is now. All processes take part.

        Args:
            checkpoint: its recipe and state; the path is the one that the folder gives to an incomplete step.
            is_best: becomes the best of the run.

        Raises OSError when this checkpoint, or the one before, could not be written; what was there before is whole.
        """
        self.wait()
        with self._explained(checkpoint):
            with failing_together(self._group):
                if dist.get_rank() == 0:
                    self.folder.begin(checkpoint.state["progress"]["step"])
            write = checkpointing.prepare(self.engine, checkpoint.path, copies=self.in_background)
        finish = partial(self._finish, write, checkpoint, is_best)
        if not self.in_background:
            finish()
            return
        self._thread = threading.Thread(target=self._catch, args=(finish,), name="saver", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Returns when the last checkpoint is whole; raises what went wrong with it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _catch(self, work: Callable[[], None]) -> None:
        try:
            use(self.engine.processes.device)
            work()
        except BaseException as error:  # whatever it is, it belongs to the thread that asked
            self._error = error

    def _finish(self, write: Write, checkpoint: Checkpoint, is_best: bool) -> None:
        """Writes the tensors, and on the main process, for which the others wait, all the rest.

        They wait because the end of one process is the signal for some launchers to kill the others.
        """
        with self._explained(checkpoint):
            files = write(self._group)
            with failing_together(self._group):
                if dist.get_rank() == 0:
                    replace(checkpoint, state={**checkpoint.state, "files": files}).write()
                    self.folder.complete(checkpoint.state["progress"]["step"], is_best, self.keep_last)

    @contextmanager
    def _explained(self, checkpoint: Checkpoint) -> Iterator[None]:
        """What goes wrong is told as the failure of this checkpoint, and nothing of it is left."""
        try:
            yield
        except OSError as error:
            if dist.get_rank() == 0:
                remove(checkpoint.path)  # its space may be what is lacking
            step, latest = checkpoint.state["progress"]["step"], self.folder.latest()
            kept = f"the last whole one is {latest.name}" if latest else "there is none yet"
            reason = f"{console.reason(error)}: the checkpoint of step {step:,} was not written; {kept}"
            raise OSError(error.errno, reason, str(self.folder.path)) from error

"""The training loop, on one screen."""

import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, Self

from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import Recipe
from d2plm_megatron.config.overrides import to_yaml
from d2plm_megatron.data.indexed import IndexedProteins
from d2plm_megatron.data.loader import GlobalBatch, Prefetch, global_batches, validation_packs
from d2plm_megatron.data.stream import PackStream
from d2plm_megatron.files import write_text
from d2plm_megatron.model.encoder import DTYPES
from d2plm_megatron.objectives import Objective, Process, build, build_process
from d2plm_megatron.parallel.preemption import PreemptionHandler
from d2plm_megatron.parallel.processes import Processes
from d2plm_megatron.rng import Stream, seed_for
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.folder import RunFolder
from d2plm_megatron.runs.metrics import perplexity
from d2plm_megatron.runs.versions import versions
from d2plm_megatron.training import checkpointing
from d2plm_megatron.training.engine import Engine, Update, learning_rate
from d2plm_megatron.training.fingerprint import fingerprint
from d2plm_megatron.training.non_finite import broken_proteins, describe
from d2plm_megatron.training.profiler import StepProfiler
from d2plm_megatron.training.progress import Progress
from d2plm_megatron.training.reporter import Callback, Reporter
from d2plm_megatron.training.resume import find_start, progress_of
from d2plm_megatron.training.saver import Saver
from d2plm_megatron.training.step import LocalSums, averages, run_packs
from d2plm_megatron.training.throughput import Throughput, peak_flops

VALIDATION_SEED = seed_for(Stream.VALIDATE, 0)
"""Held-out proteins meet the same noise at every evaluation, so that only the weights make the difference."""


class Trainer:
    """Trains as a recipe says, from where its run folder stands.

    Args:
        recipe: what to do; data.train must be given.
        processes: who does it.
        objective: what every step learns.
        process: by whose likelihoods held-out proteins are measured.
        preemption: asked between steps whether to save and stop.
        callback: told each line of the log.
    """

    def __init__(
        self,
        recipe: Recipe,
        processes: Processes,
        objective: Objective,
        process: Process,
        preemption: PreemptionHandler | None = None,
        callback: Callback | None = None,
    ) -> None:
        if recipe.data.train is None:
            raise ValueError("data.train: give the prefix of the training data, for example data.train=corpus/train")
        self.recipe, self.processes = recipe, processes
        self.objective, self.likelihoods = objective, process.likelihoods()
        self.preemption = preemption or PreemptionHandler()
        self.folder = RunFolder(Path(recipe.output) / recipe.name)
        self.stream = PackStream.open(recipe.data, recipe.train.seed)
        validation = None if recipe.data.validation is None else IndexedProteins(recipe.data.validation)
        self.validation_packs = [] if validation is None else self._validation_packs(validation)
        self.fingerprint = fingerprint(recipe, self.stream, validation)
        start = find_start(self.folder, recipe, self._say)
        self.origin = start.origin
        self.engine = Engine(recipe, processes, start.weights)
        self.progress = Progress()
        if start.checkpoint is not None:
            self._restore(start.checkpoint)
        self.reporter = self._start_reporting(start.checkpoint, callback)
        self._profiler = StepProfiler(recipe.profile, processes, self.folder.path, self.progress.step)
        self._saver = Saver(self.engine, self.folder, recipe.train.async_save, recipe.train.keep_last)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        processes: Processes,
        preemption: PreemptionHandler | None = None,
        callback: Callback | None = None,
    ) -> Self:
        """With all that the recipe names."""
        objective, process = build(recipe.objective), build_process(recipe.objective)
        return cls(recipe, processes, objective, process, preemption, callback)

    def fit(self) -> bool:
        """Trains until train.max_steps, or until the validation loss no longer falls.

        Returns false when the run was interrupted, and saved, before that.
        """
        options, progress = self.recipe.train, self.progress
        packs_per_batch = options.global_batch_tokens // self.recipe.data.tokens_per_pack
        batches = global_batches(
            self.stream, progress.position, packs_per_batch, self.processes.data_rank, self.processes.data_size
        )
        throughput = self._throughput()
        is_saved, interrupted = True, None
        with Prefetch(batches) as ready, self._saver:
            while progress.step < options.max_steps and not progress.should_stop(self.recipe.validation):
                if interrupted := self.preemption.agreed:
                    break
                with self._profiler.step(progress.step + 1):
                    batch = next(ready)
                    sums, update = self._step(batch)
                throughput.add(batch, sums)
                if progress.step % options.log_every_steps == 0:
                    self._report(throughput, update)
                pause = time.perf_counter()
                is_best = self._is_due(self.recipe.validation.every_steps) and self._validate()
                is_saved = is_best or self._is_due(options.save_every_steps)
                if is_saved:
                    self._save(is_best)
                throughput.pause(time.perf_counter() - pause)
            if not is_saved:
                self._save(is_best=False)
        self._profiler.close(progress.step)
        self._close(interrupted)
        return interrupted is None

    def _step(self, batch: GlobalBatch) -> tuple[LocalSums, Update]:
        """One optimizer step: the sums of its loss and metrics on this rank, and what became of it."""
        progress, engine = self.progress, self.engine
        engine.prepare(progress.step)
        sums = run_packs(
            engine.wrapped, self.objective, batch.packs, self.processes.device, self.recipe.train.seed, train=True
        )
        update = engine.update(sums.loss, self.preemption.flags())
        self.preemption.agree(update.raised)
        progress.step += 1
        progress.num_updates += update.stepped
        progress.skipped_in_a_row = 0 if update.stepped else progress.skipped_in_a_row + 1
        if progress.skipped_in_a_row >= self.recipe.train.max_skipped_steps:
            self._give_up(batch, update)
        progress.position = batch.after
        progress.num_proteins += batch.num_proteins
        progress.num_tokens += batch.num_tokens
        return sums, update

    def _report(self, throughput: Throughput, update: Update) -> None:
        values = throughput.report()
        if self.reporter:
            self.reporter.training(self.progress.step, {**values, **self._counts(update.norm)})

    def _give_up(self, batch: GlobalBatch, update: Update) -> NoReturn:
        many = (
            f"train.max_skipped_steps={self.recipe.train.max_skipped_steps}: as many steps in a row, up to step "
            f"{self.progress.step:,}, "
        )
        if not update.scored:
            raise ValueError(
                f"{many}were skipped, the last one as none of its residues was scored: does "
                f"{self.recipe.data.train} hold nothing but X?"
            )
        broken = broken_proteins(
            self.engine.wrapped, self.objective, batch.packs, self.processes.device, self.recipe.train.seed
        )
        found = describe([self.stream.name_of(sample) for sample in broken], batch.num_proteins)
        raise ValueError(
            f"{many}had a loss or gradient that is not finite; in the last one {found}; "
            "a lower optimizer.lr or train.precision=fp32 may help"
        )

    def _counts(self, norm: float) -> dict[str, float]:
        """The numbers of the last step, for the progress report."""
        progress = self.progress
        return {
            "lr": learning_rate(self.recipe.optimizer, progress.step - 1, self.recipe.train.max_steps),
            "gradient_norm": norm,
            "skipped_steps": progress.step - progress.num_updates,
            "proteins": progress.num_proteins,
            "tokens": progress.num_tokens,
        }

    def _is_due(self, every_steps: int) -> bool:
        return self.progress.step % every_steps == 0 or self.progress.step == self.recipe.train.max_steps

    def _validate(self) -> bool:
        """Measures the EMA of the weights on held-out proteins; true if they are the best so far."""
        if not self.validation_packs:
            return False
        values: dict[str, float] = {}
        with self.engine.ema.swapped_in():
            for name, likelihood in self.likelihoods.items():
                sums = run_packs(
                    self.engine.wrapped,
                    likelihood,
                    self.validation_packs,
                    self.processes.device,
                    VALIDATION_SEED,
                    train=False,
                )
                nats = averages(sums.over_ranks())["nll"]
                values |= {f"{name}_nll": nats, f"{name}_perplexity": perplexity(nats)}
        is_best = self.progress.is_better(next(iter(values.values())), self.recipe.validation)
        if self.reporter:
            self.reporter.validation(self.progress.step, values, is_best)
        return is_best

    def _save(self, is_best: bool) -> None:
        if self.reporter:
            self.reporter.draw()
        self._saver.save(self._checkpoint_to_be(), is_best)

    def _checkpoint_to_be(self) -> Checkpoint:
        """Of the present step, with all but its tensors."""
        state = {
            "progress": self.progress.to_json(),
            "data": self.fingerprint,
            "origin": self.origin,
            "layout": {"processes": self.processes.world_size, **vars(self.recipe.parallel)},
            "versions": versions("d2plm-megatron", "torch", "megatron-core"),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return Checkpoint(self.folder.incomplete(self.progress.step), self.recipe, state)

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.progress = progress_of(checkpoint, self.recipe, self.fingerprint, self._say)
        self.stream.check(self.progress.position)
        checkpointing.restore(self.engine, checkpoint.path, self.progress.num_updates)

    def _validation_packs(self, validation: IndexedProteins) -> list[TokenBatch]:
        packs = validation_packs(
            validation,
            self.recipe.data,
            self.recipe.validation.max_proteins,
            self.processes.data_rank,
            self.processes.data_size,
        )
        return [pack.pinned() for pack in packs]

    def _throughput(self) -> Throughput:
        peak = peak_flops(self.processes.device, DTYPES[self.recipe.train.precision])
        return Throughput(self.recipe.model, peak, self.recipe.train.global_batch_tokens)

    def _start_reporting(self, checkpoint: Checkpoint | None, callback: Callback | None) -> Reporter | None:
        if not self.processes.is_main:
            return None
        self.folder.path.mkdir(parents=True, exist_ok=True)
        write_text(self.folder.path / "recipe.yaml", to_yaml(self.recipe))
        if checkpoint is not None:
            self._say(f"continuing from {checkpoint.path} at step {self.progress.step:,}")
        return Reporter(self.recipe, self.folder, self.progress.step, callback)

    def _say(self, text: str) -> None:
        if self.processes.is_main:
            print(text, flush=True)

    def _close(self, interrupted: signal.Signals | None) -> None:
        if self.reporter:
            self.reporter.close()
        step = f"step {self.progress.step:,}: {self.folder.path}"
        if interrupted:
            self._say(f"saved and stopped on {interrupted.name} at {step}; the same command continues")
            return
        if self.progress.should_stop(self.recipe.validation):
            self._say(
                f"stopped early: {self.progress.validations_since_best} validations without a loss "
                f"below {self.progress.best_loss:.4f} - {self.recipe.validation.min_delta}"
            )
        self._say(f"finished at {step}")

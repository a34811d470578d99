"""A trained model, opened from a run or a checkpoint: the one way in which anything gets a model to ask."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from d2plm_megatron.batch import NoisyBatch, TokenBatch
from d2plm_megatron.config import Parallel, at_least, between
from d2plm_megatron.data.sequences import TOKENS_PER_PACK, PackedSequences, Sequences, cut_sequences, pack_sequences
from d2plm_megatron.inference import encoders, readouts
from d2plm_megatron.inference.draws import Measurement, measure
from d2plm_megatron.inference.filling import Filler, read_prompts
from d2plm_megatron.inference.spread import answers
from d2plm_megatron.model.encoder import Encoder
from d2plm_megatron.objectives import Objective, build_process
from d2plm_megatron.objectives.evidence import log_posterior
from d2plm_megatron.objectives.path import Path as NoisePath
from d2plm_megatron.parallel.processes import Processes, parallel_context
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.proteins.prompt import BLANK, Prompt
from d2plm_megatron.runs.checkpoint import Checkpoint
from d2plm_megatron.runs.options import check_model
from d2plm_megatron.runs.tensor_index import EMA
from d2plm_megatron.sampling.config import Samples, SamplingConfig
from d2plm_megatron.sampling.options import AUTO, SamplerOptions


class TrainedModel:
    """A model to ask; `open` makes one. Processes that were started together all call the same and get the same.

    Proteins are given as `pack_sequences` takes them, answers come in their order. A protein gets the same answer alone
    and in any company, but for the rounding of matrix products of another size.

    checkpoint   what it was read from, with its recipe
    weights      "ema" or "raw"
    precision    "bf16" or "fp32"
    processes    that share the work
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        weights: str,
        precision: str,
        processes: Processes,
        encoder: Encoder,
        end: ExitStack,
    ) -> None:
        self.checkpoint, self.weights, self.precision, self.processes = checkpoint, weights, precision, processes
        self._encoder: Encoder | None = encoder
        self._end = end

    @classmethod
    def open(
        cls,
        path: str | Path | Checkpoint,
        weights: str = EMA,
        precision: str | None = None,
        device: str | None = None,
        parallel: Parallel | None = None,
    ) -> Self:
        """Reads a model. Use it as a context manager, or call `close`; any number may be open at once.

        Args:
            path: the folder of a checkpoint, or of a run, of which the best one is taken; or an opened checkpoint.
            weights: "ema", their moving average, or "raw", as trained.
            precision: "bf16" or "fp32", to compute in; None for bf16 on a GPU and fp32 on a CPU.
            device: "cuda" or "cpu", to insist on one; None for the GPU where there is one.
            parallel: how the model is split over the processes that torchrun started; None for as it is in force, or
                the whole model in each.

        Raises ValueError when there is no such checkpoint, it is damaged, or it cannot be had in this way.
        """
        check_model(weights, precision)
        checkpoint = path if isinstance(path, Checkpoint) else Checkpoint.open(Path(path))
        with ExitStack() as end:
            processes = end.enter_context(parallel_context(parallel))
            here = processes.device.type
            if device not in (None, here):
                raise ValueError(
                    f"device={device}: here it is {here}; CUDA_VISIBLE_DEVICES= in the environment hides GPUs"
                )
            precision = precision or ("bf16" if here == "cuda" else "fp32")
            encoder = encoders.load_encoder(checkpoint, weights, precision, processes.device)
            return cls(checkpoint, weights, precision, processes, encoder, end.pop_all())

    def __repr__(self) -> str:
        return f"TrainedModel({str(self.checkpoint.path)!r}, weights={self.weights!r}, precision={self.precision!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> bool | None:
        self._encoder = None
        return self._end.__exit__(*error)

    def close(self) -> None:
        """Lets go of the memory, and of the other processes if nothing else that is open needs them."""
        self.__exit__(None, None, None)

    @property
    def encoder(self) -> Encoder:
        """The part of it that this process holds. Raises ValueError once the model is closed."""
        if self._encoder is None:
            raise ValueError(f"{self.checkpoint.path}: this model was closed; open it again")
        return self._encoder

    @property
    def path(self) -> NoisePath:
        """The way from noise to proteins along which it was trained, and generates."""
        return build_process(self.checkpoint.recipe.objective).path

    @property
    def likelihoods(self) -> dict[str, Objective]:
        """What it is measured by on proteins that it has not seen, by name; "elbo" is among them."""
        return build_process(self.checkpoint.recipe.objective).likelihoods()

    @torch.no_grad()
    def logits(self, noisy: NoisyBatch) -> Tensor:
        """The logits of a corrupted pack, [T, V] in fp32, of a model's parts all together."""
        return encoders.logits(self.encoder, noisy)

    @torch.no_grad()
    def hidden_states(self, noisy: NoisyBatch, layer: int) -> Tensor:
        """What a layer makes of a corrupted pack, [T, H] in fp32; `embed` says how layers are counted."""
        last = self.checkpoint.recipe.model.num_layers
        between("layer", layer, -last - 1, last)
        return encoders.hidden_states(self.encoder, noisy, layer % (last + 1))

    def perplexity(
        self,
        sequences: Sequences,
        *,
        num_draws: int = 8,
        seed: int = 0,
        window: int | None = None,
        tokens_per_pack: int = TOKENS_PER_PACK,
    ) -> list[float]:
        """The perplexity of each protein, exp(negative ELBO per residue): 1 is certainty, 20 is ignorance.

        Args:
            sequences: the proteins, without masks.
            num_draws: of noise for each; more shrink the error.
            seed: of the noise.
            window: residues that go through the model as one, of longer proteins in overlapping windows (see
                data/windows.py); None for those that it was trained on.
            tokens_per_pack: that go through the model at once, unless a window has more.

        Raises ValueError naming a protein with a mask, or with nothing to score.
        """
        at_least("num_draws", num_draws, 1)
        at_least("window", window, 2)
        longest = window or self.checkpoint.recipe.data.max_length_residues
        packed, protein_of_part = cut_sequences(sequences, longest, tokens_per_pack)
        if not packed.ids:
            return []
        readouts.refuse(packed, readouts.masks, readouts.NO_LIKELIHOOD)
        found = measure(self, Measurement(self.likelihoods["elbo"], packed.packs, protein_of_part, seed), num_draws)
        return [found.of(protein).perplexity for protein in range(len(found.nats))]

    def embed(
        self,
        sequences: Sequences,
        *,
        layer: int = -1,
        mean: bool = False,
        time: float | None = None,
        tokens_per_pack: int = TOKENS_PER_PACK,
    ) -> list[np.ndarray]:
        """The hidden states of each protein's residues, float32 [L, H], without its end tokens.

        Args:
            sequences: the proteins.
            layer: 0 for the embeddings of the letters, k for what layer k gives to the next; the last one, also -1, is
                taken after the norm that ends the stack, as in ESM-2.
            mean: over the residues, [H].
            time: t that a time-conditioned model is told; None as for `log_probs`.
            tokens_per_pack: that go through the model at once.

        Raises ValueError for a layer that there is none of, and what `log_probs` raises.
        """

        def ask(noisy: NoisyBatch) -> Tensor:
            return self.hidden_states(noisy, layer)

        found = self._read(sequences, ask, time, tokens_per_pack)
        return [states.mean(0) for states in found] if mean else found

    def log_probs(
        self, sequences: Sequences, *, time: float | None = None, tokens_per_pack: int = TOKENS_PER_PACK
    ) -> list[np.ndarray]:
        """The natural logarithms of each residue's probabilities given the others, float32 [L, 20].

        Columns are as alphabet.CANONICAL_LETTERS; "_" is a mask. Of a residue that is not masked the model sees the
        letter: models of absorbing diffusion, and of flow matching from masks, were not trained to say anything there.

        Args:
            sequences: the proteins.
            time: t that a time-conditioned model is told, 0 for noise to 1 for data; None for the time at which as
                large a part of a protein is masked, so that it is 1 without masks.
            tokens_per_pack: that go through the model at once.

        Raises ValueError naming a protein that cannot be packed, or has masks when the model cannot read them.
        """

        def ask(noisy: NoisyBatch) -> Tensor:
            return log_posterior(self.path, self.logits(noisy), noisy)[:, alphabet.CANONICAL]

        return self._read(sequences, ask, time, tokens_per_pack)

    def generate(
        self, num_sequences: int = 1, length: int | tuple[int, int] = (100, 200), *,
        prompts: Iterable[str] | None = None, strength: float | None = None, num_steps: int = 64,
        temperature: float = 1.0, seed: int = 0, tokens_per_pack: int = TOKENS_PER_PACK, sampler: SamplerOptions = AUTO,
    ) -> list[str]:  # fmt: skip
        """New proteins, of canonical residues.

        Args:
            num_sequences: how many; of each prompt, where there are prompts.
            length: residues, or (least, most) for even odds between the two.
            prompts: proteins with blanks to fill, such as "MKT____VLA", in place of a length.
            strength: with prompts that have no blanks: the share of their residues that is expected to be noised and
                generated anew, above 0 and at most 1.
            num_steps: from noise to protein; more are slower and better.
            temperature: below 1 likelier residues, above 1 more diverse ones.
            seed: the same seed gives the same proteins.
            tokens_per_pack: that go through the model at once.
            sampler: one of d2plm_megatron.sampling.options, such as P2(eta=0.5); by default the one that suits.

        Raises ValueError naming a number or a prompt that cannot be meant, or a sampler that does not fit the model.
        """
        shortest, longest = (length, length) if isinstance(length, int) else length
        asked = None if prompts is None else read_prompts(prompts, num_sequences, strength)
        if asked is not None:
            lengths = [len(prompt.letters) for prompt in asked]
            num_sequences, shortest, longest = len(asked), min(lengths), max(lengths)
        config = SamplingConfig(
            num_sequences=num_sequences,
            shortest=shortest,
            longest=longest,
            num_steps=num_steps,
            temperature=temperature,
            seed=seed,
            tokens_per_pack=tokens_per_pack,
            sampler=sampler,
        )
        return self.sample(config, prompts=asked, strength=strength).sequences

    def sample(
        self,
        config: SamplingConfig,
        advance: Callable[[int], object] = lambda proteins: None,
        prompts: Sequence[Prompt] | None = None,
        strength: float | None = None,
    ) -> Samples:
        """New proteins, with what they took.

        Args:
            config: how many, and how.
            advance: is told the number of each pack of them that is done here.
            prompts: of each; None for as many blanks as the config draws.
            strength: see `generate`.
        """
        if prompts is None:
            prompts = [Prompt(BLANK * length) for length in config.lengths()]
        return Filler(self, config, len(prompts), strength).samples(prompts, advance)

    def _read(
        self, sequences: Sequences, ask: Callable[[NoisyBatch], Tensor], time: float | None, tokens_per_pack: int
    ) -> list[np.ndarray]:
        """What `ask` makes of each protein as it is, residues only."""
        if time is not None:
            between("time", time, 0.0, 1.0)
        packed, path = pack_sequences(sequences, tokens_per_pack), self.path
        if not path.has_masks:
            readouts.refuse(packed, readouts.masks, readouts.NO_MASKS)
        return self._of_each(packed, lambda pack: readouts.by_protein(pack, ask(readouts.as_it_is(pack, path, time))))

    def _of_each(self, packed: PackedSequences, ask: Callable[[TokenBatch], list[Any]]) -> list[Any]:
        """The answers for all proteins, in order, of a question that gives those of a pack."""
        return [answer for of_pack in answers(packed.packs, ask, self.processes) for answer in of_pack]

"""The ways to train the same encoder, each ready to take steps on batches of the same proteins."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.interleaved import Baseline, Step
from benchmarks.plain_encoder import PlainEncoder
from d2plm_megatron.batch import TokenBatch
from d2plm_megatron.config import MODEL_SIZES, Optimizer, Recipe
from d2plm_megatron.data.loader import global_batches
from d2plm_megatron.data.stream import PackStream, Position
from d2plm_megatron.objectives import build
from d2plm_megatron.parallel.processes import parallel_context
from d2plm_megatron.proteins import alphabet
from d2plm_megatron.rng import KeyedRng
from d2plm_megatron.training.engine import Engine
from d2plm_megatron.training.step import run_packs
from recipes import esm2_8m

IGNORED = -100
"""The label of tokens that Hugging Face's loss leaves out."""


@dataclass(frozen=True)
class Job:
    """What every baseline trains on, and how.

    Attributes:
        size: of the model, one of the esm2_ sizes.
        prefix: of the proteins.
        tokens_per_pack: of a pack.
        num_batches: packs; as many padded batches hold the same proteins.
        precision: fp32 or bf16.
        device: cpu or cuda.
    """

    size: str
    prefix: str
    tokens_per_pack: int
    num_batches: int
    precision: str
    device: str

    @cached_property
    def recipe(self) -> Recipe:
        """recipes/esm2_8m.py with the job's model and data, and one pack per step."""
        parent = esm2_8m.recipe()
        return replace(
            parent,
            model=MODEL_SIZES[self.size],
            data=replace(parent.data, train=self.prefix, tokens_per_pack=self.tokens_per_pack),
            train=replace(parent.train, global_batch_tokens=self.tokens_per_pack, precision=self.precision),
        )

    @cached_property
    def packs(self) -> list[TokenBatch]:
        """The first packs of the training data: a fair sample, as each holds proteins of all lengths."""
        batches = global_batches(PackStream.open(self.recipe.data, self.recipe.train.seed), Position(), 1, 0, 1)
        return [batch.packs[0] for batch in islice(batches, self.num_batches)]

    @cached_property
    def proteins(self) -> list[Tensor]:
        """The ids of each protein of all packs, with its end tokens."""
        return [
            ids
            for pack in self.packs
            for ids, sample in zip(pack.tokens_T.split(pack.lengths_S), pack.sample_ids_S.tolist(), strict=True)
            if sample >= 0
        ]

    def padded(self) -> list[tuple[Tensor, Tensor]]:
        """(inputs, labels) of the same proteins, shuffled and dealt into as many batches, padded to their longest.

        Masked as by DataCollatorForLanguageModeling: 15% of the residues are labels, of which 80% are masks, 10% any
        token and 10% as they were.
        """
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(self.proteins), generator=generator).tensor_split(self.num_batches)
        return [self._masked([self.proteins[i] for i in chosen], generator) for chosen in order]

    @staticmethod
    def _masked(proteins: list[Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        ids = pad_sequence(proteins, batch_first=True, padding_value=alphabet.PAD)
        special = (ids == alphabet.PAD) | (ids == alphabet.CLS) | (ids == alphabet.EOS)
        chosen = (torch.rand(ids.shape, generator=generator) < 0.15) & ~special
        fate = torch.rand(ids.shape, generator=generator)
        anything = torch.randint(alphabet.SIZE, ids.shape, generator=generator)
        replaced = torch.where(fate < 0.8, alphabet.MASK, torch.where(fate < 0.9, anything, ids))
        return torch.where(chosen, replaced, ids), torch.where(chosen, ids, IGNORED)

    def autocast(self) -> AbstractContextManager[Any]:
        """What training in bf16 is in plain PyTorch."""
        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bf16" else nullcontext()


@contextmanager
def ours(job: Job) -> Iterator[Step]:
    """What a recipe runs: the engine on packs, moving average included."""
    with parallel_context(job.recipe.parallel) as processes:
        engine, objective = Engine(job.recipe, processes), build(job.recipe.objective)

        def step(number: int) -> None:
            engine.prepare(number)
            packs = [job.packs[number]]
            sums = run_packs(engine.wrapped, objective, packs, processes.device, job.recipe.train.seed, train=True)
            engine.update(sums.loss)

        yield step


@contextmanager
def plain(job: Job) -> Iterator[Step]:
    """The plain encoder on the same packs, with the same objective."""
    device, objective = torch.device(job.device), build(job.recipe.objective)
    encoder = PlainEncoder(job.recipe.model).to(device)
    optimizer = adamw(encoder, job.recipe.optimizer)

    def step(number: int) -> None:
        pack = job.packs[number].to(device)
        noisy = objective.corrupt(pack, KeyedRng(job.recipe.train.seed, pack.epoch))
        with job.autocast():
            logits = encoder(noisy)
        terms = objective.loss(logits, noisy)
        update(encoder, optimizer, terms.total / terms.count, job.recipe.optimizer)

    yield step


@contextmanager
def hugging_face(job: Job) -> Iterator[Step]:
    """EsmForMaskedLM with the settings of facebook/esm2_t6_8M_UR50D and its relatives, on padded batches."""
    from transformers import EsmConfig, EsmForMaskedLM  # only this baseline needs it

    model = job.recipe.model
    config = EsmConfig(
        vocab_size=alphabet.SIZE,
        hidden_size=model.hidden_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_attention_heads,
        intermediate_size=model.ffn_hidden_size,
        max_position_embeddings=1026,
        position_embedding_type="rotary",
        token_dropout=True,
        emb_layer_norm_before=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-5,
        pad_token_id=alphabet.PAD,
        mask_token_id=alphabet.MASK,
    )
    encoder = EsmForMaskedLM(config).to(job.device).train()
    optimizer, batches = adamw(encoder, job.recipe.optimizer), job.padded()

    def step(number: int) -> None:
        inputs, labels = (tensor.to(job.device, non_blocking=True) for tensor in batches[number])
        with job.autocast():
            loss = encoder(input_ids=inputs, attention_mask=(inputs != alphabet.PAD).long(), labels=labels).loss
        update(encoder, optimizer, loss, job.recipe.optimizer)

    yield step


BASELINES: dict[str, Baseline] = {
    "ours": ours,
    "plain PyTorch, packed": plain,
    "Hugging Face, padded": hugging_face,
}
"""By the name in the table."""


def adamw(encoder: torch.nn.Module, options: Optimizer) -> torch.optim.AdamW:
    """torch's, in one kernel."""
    betas = (options.beta1, options.beta2)
    return torch.optim.AdamW(encoder.parameters(), options.lr, betas, fused=True)


def update(encoder: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, options: Optimizer) -> None:
    """Backward, clip and step."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(encoder.parameters(), options.clip_norm)
    optimizer.step()

"""Where every number of the encoder belongs in the whole model, whatever the layout.

A parameter has one name and one shape in the whole model (all layers of a kind stacked along the first axis), of which
a process holds one or two slices: its layer, its rows or columns. Weights are drawn, EMAs kept and checkpoints
written in terms of those: tensor, pipeline and data parallelism, and either layer spec, mean the same by a name.
"""

import math
from dataclasses import dataclass

from d2plm_megatron.model.encoder import Encoder
from d2plm_megatron.parallel.megatron import ShardedTensor, ShardedTensorFactory


@dataclass(frozen=True)
class TensorSlice:
    """A slice of a whole parameter that lies as one run in the local storage of a process.

    Attributes:
        name: of the whole parameter.
        start: where the run begins in the flattened local parameter.
        shape: of the slice, with as many axes as the whole parameter.
        whole_shape: of the whole parameter.
        offset: of the slice in it.
        replica: all zeros in the one process that saves the slice, when several hold the same.
    """

    name: str
    start: int
    shape: tuple[int, ...]
    whole_shape: tuple[int, ...]
    offset: tuple[int, ...]
    replica: tuple[int, ...]

    @property
    def parameter(self) -> str:
        """The name of the parameter that it is of, with the number of the layer; see config/parameters.py."""
        stacked = "decoder.layers."
        if not self.name.startswith(stacked):
            return self.name
        return f"{stacked}{self.offset[0]}.{self.name.removeprefix(stacked)}"

    @property
    def stop(self) -> int:
        """Where the run ends."""
        return self.start + math.prod(self.shape)

    def slice(self, start: int, stop: int) -> "list[TensorSlice]":
        """The slices, at most three, that hold the elements start..stop of the flattened local parameter.

        A run of a matrix is the end of a row, some whole rows, and the beginning of a row.
        """
        first, last = max(start, self.start) - self.start, min(stop, self.stop) - self.start
        if first >= last:
            return []
        width = self.shape[-1]
        if len(self.shape) == 1 or math.prod(self.shape[:-1]) == 1:
            return [self._columns(0, first, last)]
        next_row, last_row = -(-first // width), last // width
        if next_row > last_row:  # within one row
            return [self._columns(last_row, first % width, last % width)]
        slices = []
        if first % width:
            slices.append(self._columns(next_row - 1, first % width, width))
        if next_row < last_row:
            slices.append(self._rows(next_row, last_row))
        if last % width:
            slices.append(self._columns(last_row, 0, last % width))
        return slices

    def _rows(self, first: int, last: int) -> "TensorSlice":
        *front, row, column = self.offset
        shape = (*self.shape[:-2], last - first, self.shape[-1])
        start = self.start + first * self.shape[-1]
        return TensorSlice(self.name, start, shape, self.whole_shape, (*front, row + first, column), self.replica)

    def _columns(self, row: int, first: int, last: int) -> "TensorSlice":
        offset = list(self.offset)
        offset[-1] += first
        if len(offset) > 1:
            offset[-2] += row
        shape = (*(1 for _ in self.shape[:-1]), last - first)
        start = self.start + row * self.shape[-1] + first
        return TensorSlice(self.name, start, shape, self.whole_shape, tuple(offset), self.replica)


def slices_by_parameter(encoder: Encoder) -> dict[str, list[TensorSlice]]:
    """For each of the encoder's parameters (by its torch name) the slices that it holds, in storage order."""
    names = {id(parameter): name for name, parameter in encoder.named_parameters()}
    found: dict[str, list[TensorSlice]] = {}
    for entry in encoder.sharded_state_dict().values():
        name = names.get(id(entry.data))
        if name is not None:  # else no parameter, such as the extra state of Transformer Engine
            found[name] = _boxes(entry)
    missing = set(names.values()) - found.keys()
    assert not missing, f"no place in the whole model for {missing}"
    return found


def _boxes(entry: ShardedTensor | ShardedTensorFactory) -> list[TensorSlice]:
    """Megatron's own description as slices; a gated layer is a factory for two, the gate and the value."""
    parts = entry.build() if isinstance(entry, ShardedTensorFactory) else [entry]
    slices, start = [], 0
    for part in parts:
        shape = (1,) * part.prepend_axis_num + tuple(part.local_shape)
        slices.append(
            TensorSlice(part.key, start, shape, tuple(part.global_shape), tuple(part.global_offset), part.replica_id)
        )
        start += math.prod(shape)
    return slices

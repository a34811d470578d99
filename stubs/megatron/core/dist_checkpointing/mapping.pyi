from collections.abc import Iterable

from torch import Tensor

class ShardedTensor:
    key: str
    data: Tensor | None
    local_shape: tuple[int, ...]
    global_shape: tuple[int, ...]
    global_offset: tuple[int, ...]
    replica_id: tuple[int, ...]
    prepend_axis_num: int

class ShardedTensorFactory:
    data: Tensor
    def build(self) -> Iterable[ShardedTensor]: ...

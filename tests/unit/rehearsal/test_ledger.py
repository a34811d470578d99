"""What the ledger counts, told by real tensors."""

import torch

from d2plm_megatron.parallel.megatron.watched import Watched, storage_sizes
from d2plm_megatron.rehearsal.ledger import Call, Ledger

KIB = 1024


def test_bytes_that_live_and_the_most_that_did() -> None:
    ledger = Ledger()
    with Watched(ledger, without_data=False):
        kept = torch.zeros(KIB, dtype=torch.float32)
        view = kept[:10]
        passing = kept + 1
        del passing
        assert ledger.total == 4 * KIB == storage_sizes([kept, view])[next(iter(storage_sizes([kept])))]
        assert ledger.phase.peak == 8 * KIB
        assert ledger.phase.at_peak == {"zeros": 4 * KIB, "add": 4 * KIB}
        ledger.begin()
        assert ledger.phase.peak == 4 * KIB
        kept.untyped_storage().resize_(KIB)
        assert ledger.total == KIB
        del kept, view
    assert ledger.total == 0


def test_operations_of_products_and_attention() -> None:
    ledger = Ledger()
    with Watched(ledger, without_data=False):
        a, b = torch.ones(4, 8), torch.ones(8, 16)
        assert ledger.phase.flops == 0
        _ = a @ b
        assert ledger.phase.flops == 2 * 4 * 8 * 16
        query = torch.ones(1, 2, 5, 8, requires_grad=True)
        attended = torch.nn.functional.scaled_dot_product_attention(query, query, query)
        forward = 2 * 2 * 2 * 5 * 5 * 8
        assert ledger.phase.flops == 2 * 4 * 8 * 16 + forward
        attended.sum().backward()
        assert ledger.phase.flops == 2 * 4 * 8 * 16 + forward + forward * 5 // 2
    assert ledger.phase.num_operations >= 4


def test_what_an_all_gather_fills_is_of_its_group() -> None:
    ledger = Ledger()
    ledger.lives(1, 100, "empty")
    ledger.lives(2, 10, "empty")
    ledger.communicates("allgather_base", (0, 2), None, 100, [1])
    ledger.communicates("reduce_scatter_base", (0, 1), None, 100, [2])
    assert ledger.phase.at_peak == {(0, 2): 100, "empty": 10}
    assert ledger.phase.calls[0, 2] == [Call("allgather_base", None, 100)]
    ledger.dies(1)
    assert ledger.by_maker[0, 2] == 0 and ledger.total == 10

"""Operations per second of the machine at best, of which MFU is a share."""

import time

import torch
import torch.distributed as dist

from d2plm_megatron.training import throughput


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Of all processes: by the vendor's figures where there are any, else by matrix products."""
    if (published := throughput.peak_flops(device, dtype)) is not None:
        return published
    measured = torch.tensor(_of_matrix_products(device, dtype), dtype=torch.float64, device=device)
    dist.all_reduce(measured)
    return float(measured)


def _of_matrix_products(device: torch.device, dtype: torch.dtype) -> float:
    """The best of some. Beside other programs it may be less than a step reaches when they have ended."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        (left @ right).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best

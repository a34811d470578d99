"""GPUs and the links between them: figures of vendors, which estimates of memory and time begin with."""

import re
from dataclasses import dataclass

from d2plm_megatron.config.checks import one_of


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU, in a node of the usual make.

    Attributes:
        name: as people write it, such as H100.
        memory_gib: that NVIDIA's driver says there is, which is less than the box says.
        bf16_tflops: dense matrix products in bf16 with sums in fp32, in 10^12 operations per second.
        fp32_tflops: in fp32 proper; TF32, which keeps 10 of the 23 bits, is not counted.
        memory_gb_per_s: to and from its own memory, in 10^9 bytes per second.
        link_gb_per_s: that it sends to another GPU of the node while it receives as much: NVLink, or else PCIe.
        network_gb_per_s: its share of what the node sends to others. Usual, not a property of the GPU.
        gpus_per_node: usual.
        source: of the figures.
    """

    name: str
    memory_gib: float
    bf16_tflops: float
    fp32_tflops: float
    memory_gb_per_s: float
    link_gb_per_s: float
    network_gb_per_s: float
    gpus_per_node: int
    source: str

    def tflops(self, precision: str) -> float:
        """Of matrix products in "bf16" or "fp32", at best."""
        return self.bf16_tflops if precision == "bf16" else self.fp32_tflops


GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("B200", 179.1, 2250, 75, 7700, 900, 50, 8, "NVIDIA HGX B200 and DGX B200 data sheets, 2024"),
        Gpu("H200", 140.4, 989, 67, 4800, 450, 50, 8, "NVIDIA H200 data sheet, 2024 (SXM)"),
        Gpu("H200 NVL", 140.4, 836, 60, 4800, 450, 50, 4, "NVIDIA H200 data sheet, 2024 (NVL, bridges of four)"),
        Gpu("H100", 79.6, 989, 67, 3350, 450, 50, 8, "NVIDIA H100 data sheet, 2023 (SXM); network of DGX H100"),
        Gpu("H100 NVL", 93.6, 835, 60, 3900, 64, 50, 8, "NVIDIA H100 data sheet, 2024 (NVL); PCIe 5 between bridges"),
        Gpu("H100 PCIe", 79.6, 756, 51, 2000, 64, 25, 8, "NVIDIA H100 data sheet, 2022 (PCIe 5)"),
        Gpu("A100", 80.0, 312, 19.5, 2039, 300, 25, 8, "NVIDIA A100 data sheet, 2021 (SXM, 80 GB); DGX A100, HDR"),
        Gpu("A100 40GB", 39.6, 312, 19.5, 1555, 300, 25, 8, "NVIDIA A100 data sheet, 2020 (SXM, 40 GB); DGX A100, HDR"),
        Gpu("A100 PCIe", 80.0, 312, 19.5, 1935, 32, 12.5, 8, "NVIDIA A100 data sheet, 2021 (PCIe 4, 80 GB)"),
        Gpu("L40S", 45.0, 362, 91.6, 864, 32, 12.5, 8, "NVIDIA L40S data sheet, 2023 (PCIe 4)"),
        Gpu("A6000", 48.0, 155, 38.7, 768, 32, 12.5, 4, "NVIDIA RTX A6000 data sheet, 2020, and GA102 whitepaper"),
        Gpu("RTX 4090", 24.0, 165, 82.6, 1008, 32, 1.25, 4, "NVIDIA Ada GPU architecture whitepaper, 2022 (PCIe 4)"),
    )
}
"""By name. Where a data sheet gives figures with sparsity, half; where it gives both directions of a link, half."""


def gpu(name: str) -> Gpu:
    """The kind of GPU of a name. Raises ValueError, with the nearest name, where the table has none."""
    known = {each.casefold(): each for each in GPUS}
    found = known.get(name.casefold(), name)
    one_of("--gpu", found, tuple(GPUS))
    return GPUS[found]


def of_device(device_name: str) -> Gpu | None:
    """The kind of a GPU that its driver calls so, such as "NVIDIA H100 80GB HBM3"; None where the table has none."""
    words = set(re.findall(r"\w+", device_name))
    if "Laptop" in words:
        return None
    fitting = [each for each in GPUS.values() if words.issuperset(each.name.split())]
    return max(fitting, key=lambda each: len(each.name), default=None)

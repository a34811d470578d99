import pytest

from d2plm_megatron.config import hardware

DEVICES = {
    "NVIDIA B200": "B200",
    "NVIDIA H200": "H200",
    "NVIDIA H200 NVL": "H200 NVL",
    "NVIDIA H100 80GB HBM3": "H100",
    "NVIDIA H100 NVL": "H100 NVL",
    "NVIDIA H100 PCIe": "H100 PCIe",
    "NVIDIA A100-SXM4-80GB": "A100",
    "NVIDIA A100-SXM4-40GB": "A100 40GB",
    "NVIDIA A100 80GB PCIe": "A100 PCIe",
    "NVIDIA L40S": "L40S",
    "NVIDIA RTX A6000": "A6000",
    "NVIDIA GeForce RTX 4090": "RTX 4090",
}


@pytest.mark.parametrize(("device", "name"), DEVICES.items())
def test_devices_are_known_by_what_their_driver_calls_them(device, name):
    assert hardware.of_device(device) is hardware.gpu(name)


@pytest.mark.parametrize("device", ["Tesla T4", "NVIDIA GH200 480GB", "NVIDIA GeForce RTX 4090 Laptop GPU", ""])
def test_other_devices_are_not_taken_for_one_of_the_table(device):
    assert hardware.of_device(device) is None


def test_names_are_those_of_people():
    assert hardware.gpu("h100").name == "H100"
    with pytest.raises(ValueError, match=r"--gpu H10: allowed are B200, .*; did you mean H100"):
        hardware.gpu("H10")


@pytest.mark.parametrize("kind", hardware.GPUS.values(), ids=lambda kind: kind.name)
def test_figures_are_in_their_units(kind):
    """A slip of a thousand, of both directions, or of sparsity would show."""
    assert 20 < kind.memory_gib < 300
    assert 1.5 < kind.bf16_tflops / kind.fp32_tflops < 40
    operations_per_byte = kind.bf16_tflops * 1e12 / (kind.memory_gb_per_s * 1e9)
    assert 100 < operations_per_byte < 450
    assert kind.network_gb_per_s <= kind.link_gb_per_s < kind.memory_gb_per_s
    assert (kind.tflops("bf16"), kind.tflops("fp32")) == (kind.bf16_tflops, kind.fp32_tflops)

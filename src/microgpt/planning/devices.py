"""What one device can do at most, as its maker says: dense products, without sparsity; memory in units of 10⁹ bytes."""

from dataclasses import dataclass
from typing import Final

from microgpt.model.settings import Precision


@dataclass(frozen=True)
class Device:
    """Peak FLOP/s by precision, and bytes of memory."""

    name: str
    flops: dict[Precision, float]
    memory: float


def _device(name: str, bf16: float, single: float, double: float, memory: float) -> Device:
    """From units of 10¹² FLOP/s and 10⁹ bytes."""
    return Device(name, {"bf16": bf16 * 1e12, "32": single * 1e12, "64": double * 1e12}, memory * 1e9)


# Float32 and float64 are those of the general cores, not of rounded (TF32) or special (FP64 tensor) products.
DEVICES: Final[dict[str, Device]] = {
    device.name: device
    for device in (
        _device("b200", 2250, 75, 37, 180),  # NVIDIA HGX B200 datasheet, an eighth of eight; bf16 without sparsity
        _device("h200", 989.4, 66.9, 33.5, 141),  # NVIDIA H200 datasheet (SXM)
        _device("h100", 989.4, 66.9, 33.5, 80),  # NVIDIA H100 architecture white paper, table 2 (SXM5)
        _device("a100", 312, 19.5, 9.7, 80),  # NVIDIA A100 80GB datasheet
        _device("a100-40", 312, 19.5, 9.7, 40),  # NVIDIA A100 architecture white paper, table 1
        _device("l40s", 362.05, 91.6, 1.43, 48),  # NVIDIA L40S datasheet; float64 is a 64th of float32
        _device("rtx4090", 165.2, 82.6, 1.29, 24),  # NVIDIA Ada architecture white paper, appendix A
        _device("mi300x", 1307.4, 163.4, 81.7, 192),  # AMD Instinct MI300X datasheet
    )
}

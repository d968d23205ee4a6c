"""What is normal at this hour: figures that earlier runs measured, from the sealed evidence."""

from rbkernel.evidence.baselines.measured import MEASURED, Figure, Found, samples
from rbkernel.evidence.baselines.normal import Normal, Sample, normal

__all__ = ["MEASURED", "Figure", "Found", "Normal", "Sample", "normal", "samples"]

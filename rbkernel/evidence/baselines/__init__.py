"""What is normal at this hour: figures that earlier runs measured, from the sealed evidence."""

from rbkernel.evidence.baselines.earlier import MEASURED, Place, samples
from rbkernel.evidence.baselines.normal import Normal, Sample, normal

__all__ = ["MEASURED", "Normal", "Place", "Sample", "normal", "samples"]

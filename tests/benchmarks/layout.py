"""Where `exports` writes what the peers load. It needs no torch, so every module may import it."""

from export.bundle import Precision

CHECKPOINT, OPTIMUM = "checkpoint", "optimum"
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")  # of Duet's bundles
CTRANSLATE2_TYPES = ("float32", "int8")  # the names of its folders too

"""What a replica computes on and with, as far as somebody told us or the server says. Everything is optional."""

from dataclasses import dataclass, replace
from math import sqrt

from perfagent.domain.errors import InvalidInput

CPU = "cpu"
"""In place of a GPU's name: a server that runs on processor cores alone."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A dense decoder. Bytes are per parameter and per cached number.

    `width` is heads × head_dim; where it is 0 it follows from the others, as blocks of attention and a gated MLP of
    three to four widths hold about twelve squares of it.
    """

    params: float
    layers: int
    kv_heads: int
    head_dim: int
    width: int = 0
    weight_bytes: float = 2.0
    kv_bytes: float = 2.0

    def __post_init__(self) -> None:
        if not (self.params > 0 and self.weight_bytes > 0 and self.kv_bytes > 0):
            raise InvalidInput("a model has parameters, and each takes some bytes")
        if min(self.layers, self.kv_heads, self.head_dim) < 1 or self.width < 0:
            raise InvalidInput("a model has layers, KV heads and a head dimension")

    @property
    def heads_width(self) -> float:
        """`width`, told or estimated."""
        return self.width or sqrt(self.params / (12 * self.layers))

    @property
    def kv_token_bytes(self) -> float:
        """Keys and values of all layers for one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.kv_bytes


@dataclass(frozen=True, slots=True)
class Machine:
    """A replica's hardware and model; what nobody knows is None."""

    gpu: str | None = None
    """Short name, such as `h200`; `CPU` for a server that runs on none."""
    gpus: int = 1
    """How many share one replica's work (tensor parallelism)."""
    shape: ModelShape | None = None
    """In the data types of the checkpoint; quantization while loading is a setting."""
    gpu_from: str = ""
    """How the GPU came to be known, in words, where no person named it."""
    shape_from: str = ""
    """The same for the shape."""

    def completed(self, found: "Machine") -> "Machine":
        """This, and what was found where this says nothing. A GPU that is named is named with how many there are."""
        whole = self
        if whole.gpu is None and found.gpu is not None:
            gpus = whole.gpus if whole.gpus > 1 else found.gpus
            whole = replace(whole, gpu=found.gpu, gpus=gpus, gpu_from=found.gpu_from)
        if whole.shape is None and found.shape is not None:
            whole = replace(whole, shape=found.shape, shape_from=found.shape_from)
        return whole

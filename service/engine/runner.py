"""The runner: a bundle's two graphs in onnxruntime."""

from typing import Any

import numpy as np
import onnxruntime

from export.bundle import DECODER, ENCODER, Bundle, BundleError, Precision
from service.engine.slots import Array, Slots, TensorSpec

DTYPES: dict[str, type[np.generic]] = {
    "tensor(bool)": np.bool_,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
}
CPU_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


class Runner:
    """Encodes inputs and takes decoder steps. For one thread alone.

    Raises BundleError where a graph cannot be loaded.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        precision = bundle.manifest.precision
        if precision not in CPU_PRECISIONS:
            raise BundleError(
                f"{bundle.folder}: in {precision}, which is for GPUs, but this service computes on "
                f"the CPU; export it in {' or '.join(CPU_PRECISIONS)}"
            )
        self._encoder = _load(bundle, ENCODER, threads)
        self._decoder = _load(bundle, DECODER, threads)
        self._cross_names = [output.name for output in self._encoder.get_outputs()]
        self._cache_names = [
            output.name
            for output in self._decoder.get_outputs()
            if output.name.startswith("present_")
        ]
        self.specs = [
            TensorSpec(tensor.name, DTYPES[tensor.type], tuple(tensor.shape[1:]))
            for tensor in self._decoder.get_inputs()
        ]
        self._layout: int | None = None

    def encode(self, ids: list[int]) -> dict[str, Array]:
        """The cross keys and values [1,H,S,Dk] of one input, by the decoder's names for them."""
        # Alone and without padding: so no neighbour changes the numbers.
        input_ids = np.array([ids], np.int64)
        feeds = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
        return dict(zip(self._cross_names, self._encoder.run(None, feeds), strict=True))

    def step(self, slots: Slots) -> tuple[Array, Array]:
        """Takes one step of every row in use.

        Returns the most probable next token of each [count] and its log-probability [count].
        """
        slots.open_step()
        if slots.layout != self._layout:
            self._bind(slots)
        self._decoder.run_with_iobinding(self._binding)
        slots.close_step(self._next_id[:, 0])
        return self._next_id[:, 0], self._next_logprob[:, 0]

    def _bind(self, slots: Slots) -> None:
        self._next_id = np.zeros((slots.count, 1), np.int64)
        self._next_logprob = np.zeros((slots.count, 1), np.float32)
        outputs: dict[str, Array] = {
            "next_id": self._next_id,
            "next_logprob": self._next_logprob,
        }
        # a cache comes out where it went in, so the graph updates it in place
        outputs |= {name: slots.arrays[name.removeprefix("present_")] for name in self._cache_names}
        binding = self._decoder.io_binding()
        for bind, arrays in ((binding.bind_input, slots.arrays), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                shape = (slots.count, *array.shape[1:])
                bind(name, "cpu", 0, array.dtype.type, shape, array.ctypes.data)
        self._binding, self._layout = binding, slots.layout


def _load(bundle: Bundle, name: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the cores from whoever else computes: beside one busy
    # process, a step took twice as long with spinning, and without it nothing was lost.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # it keeps a plan for every shape that it ever saw
    try:
        return onnxruntime.InferenceSession(
            bundle.path(name), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no base but this
        raise BundleError(f"{bundle.path(name)}: onnxruntime cannot load it ({error})") from error

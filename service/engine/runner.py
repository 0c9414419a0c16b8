"""The runner: a bundle's two graphs in onnxruntime."""

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

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


class NewTokens(NamedTuple):
    """What goes into a step for each of n rows, under the decoder's names."""

    input_ids: Array  # [n,T]
    positions: Array  # [n,T], the place of each in its own sequence
    visible: Array  # [n,T,M] bool, the cache entries, new ones included, that each attends to
    target_ids: Array  # [n,T], tokens whose log-probability is wanted


class Choices(NamedTuple):
    """What comes out of a step for each new token, under the decoder's names: [n,T] each."""

    next_id: Array  # the most probable next token
    next_logprob: Array
    target_logprob: Array


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
        self.model = bundle.manifest.model
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
        self._bindings: WeakKeyDictionary[Slots, tuple[int, Any]] = WeakKeyDictionary()

    def encode(self, ids: list[int]) -> dict[str, Array]:
        """The cross keys and values [1,H,S,Dk] of one input, by the decoder's names for them."""
        # Alone and without padding: so no neighbour changes the numbers.
        input_ids = np.array([ids], np.int64)
        feeds = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
        return dict(zip(self._cross_names, self._encoder.run(None, feeds), strict=True))

    def step(self, slots: Slots, new: NewTokens) -> Choices:
        """Puts the new tokens of every row in use through the decoder, and into its cache."""
        binding = self._bound(slots)
        new = NewTokens(*map(np.ascontiguousarray, new))
        for name, array in zip(new._fields, new, strict=True):
            _bind(binding.bind_input, name, array, *array.shape)
        shape = new.input_ids.shape
        choices = Choices(np.empty(shape, np.int64), *np.empty((2, *shape), np.float32))
        for name, array in zip(choices._fields, choices, strict=True):
            _bind(binding.bind_output, name, array, *shape)
        self._decoder.run_with_iobinding(binding)
        return choices

    def _bound(self, slots: Slots) -> Any:
        """The binding of all that outlives a step, made anew where the slots' layout changed."""
        layout, binding = self._bindings.get(slots, (None, None))
        if layout != slots.layout:
            binding = self._decoder.io_binding()
            for name, array in slots.arrays.items():
                _bind(binding.bind_input, name, array, slots.count, *array.shape[1:])
            for name in self._cache_names:
                # a cache comes out where it went in, so the graph updates it in place
                array = slots.arrays[name.removeprefix("present_")]
                _bind(binding.bind_output, name, array, slots.count, *array.shape[1:])
            self._bindings[slots] = (slots.layout, binding)
        return binding


def _bind(bind: Callable[..., None], name: str, array: Array, *shape: int) -> None:
    bind(name, "cpu", 0, array.dtype.type, shape, array.ctypes.data)


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

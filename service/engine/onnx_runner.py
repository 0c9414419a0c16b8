"""The runner for every bundle: its two graphs in onnxruntime."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import onnxruntime

from export.bundle import DECODER, ENCODER, BundleError
from export.verify import Bundle
from service.engine.devices import CPU, Device, DeviceChoice, DeviceError, candidates
from service.engine.runner import StepInput, StepOutput
from service.engine.slots import Array, Slots, TensorSpec

DTYPES: dict[str, type[np.generic]] = {
    "tensor(bfloat16)": np.uint16,  # its bits: numpy has no bfloat16
    "tensor(bool)": np.bool_,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
}
BFLOAT16 = 16  # in TensorProto.DataType
CACHE_OPS = {"Attention", "TensorScatter"}  # the operators that read and write caches

logger = logging.getLogger(__name__)


class OnnxRunner:
    """A Runner for every precision, on the CPU or a GPU.

    Keys and values stay in the device's memory.

    Raises BundleError if a graph cannot be loaded on the CPU, or if the device cannot compute the
    bundle's precision. Raises DeviceError if a graph cannot be loaded on a GPU.
    """

    def __init__(self, bundle: Bundle, threads: int, device: Device = CPU) -> None:
        precision = bundle.manifest.precision
        if precision not in device.precisions:
            others = "GPUs" if device is CPU else "CPUs"
            raise BundleError(
                f"{bundle.folder}: its precision {precision} is for {others}, but it should run "
                f"on {device.title}; export it in {' or '.join(device.precisions)}"
            )
        self.model = bundle.manifest.model
        self.device = device
        self.encoders = threads if device is CPU else 1  # more at once would not be faster
        self._encoder = _load(bundle, ENCODER, threads, device)
        self._decoder = _load(bundle, DECODER, threads, device)
        self._cache_names = [
            output.name
            for output in self._decoder.get_outputs()
            if output.name.startswith("present_")
        ]
        self.specs = [
            TensorSpec(tensor.name, DTYPES[tensor.type], tuple(tensor.shape[1:]))
            for tensor in self._decoder.get_inputs()
        ]
        cross_names = {output.name for output in self._encoder.get_outputs()}
        self._cross_specs = [spec for spec in self.specs if spec.name in cross_names]
        # These arrays are in the CPU's memory. Binding copies them to the GPU: bind at each step.
        self._copied_names = [
            spec.name
            for spec in self.specs
            if device is not CPU and not spec.is_cache and "T" not in spec.dims
        ]
        self._bindings: WeakKeyDictionary[Slots, tuple[int, Any]] = WeakKeyDictionary()

    @classmethod
    def on(cls, choice: DeviceChoice, bundle: Bundle, threads: int) -> "OnnxRunner":
        """A runner on the chosen device. For auto: on a GPU if one works, else on the CPU.

        Raises BundleError, DeviceError.
        """
        *preferred, last = candidates(choice, bundle.manifest.precision)
        for device in preferred:
            try:
                return cls(bundle, threads, device())
            except DeviceError as error:
                logger.warning("%s cannot use the GPU: %s", bundle.manifest.name, error)
        return cls(bundle, threads, last())

    def new_slots(self, capacity: int) -> Slots:
        """Slots for `capacity` sequences, with the caches in the device's memory."""
        return Slots(self.specs, capacity, self.device.arrays)

    def encode(self, ids: list[int]) -> dict[str, Array]:
        """The cross keys and values [1,H,S,Dk] of a prompt, by the names of the decoder's inputs.

        The S tokens are encoded alone and without padding, so other prompts change no digit.
        """
        input_ids = np.array([ids], np.int64)
        binding = self._encoder.io_binding()
        binding.bind_cpu_input("input_ids", input_ids)
        binding.bind_cpu_input("attention_mask", np.ones_like(input_ids))
        cross = {}
        for spec in self._cross_specs:
            shape = [len(ids) if dim == "S" else dim for dim in spec.dims]
            cross[spec.name] = array = self.device.arrays.empty((1, *shape), spec.dtype)
            _bind(binding.bind_output, spec.name, array, array.shape, self.device)
        self.device.synchronize()
        self._encoder.run_with_iobinding(binding)
        return cross

    def step(self, slots: Slots, new: StepInput) -> StepOutput:
        """The decoder's output for the new tokens of every slot in use, [n,T] each.

        Updates the caches of `slots` in place.
        """
        binding = self._bound(slots)
        new = StepInput(*map(np.ascontiguousarray, new))
        for name, array in zip(new._fields, new, strict=True):
            _bind(binding.bind_input, name, array, array.shape)
        for name in self._copied_names:
            array = slots.arrays[name]
            _bind(binding.bind_input, name, array, (slots.count, *array.shape[1:]))
        shape = new.input_ids.shape
        output = StepOutput(np.empty(shape, np.int64), *np.empty((2, *shape), np.float32))
        for name, array in zip(output._fields, output, strict=True):
            _bind(binding.bind_output, name, array, shape)
        self.device.synchronize()
        self._decoder.run_with_iobinding(binding)
        return output

    def _bound(self, slots: Slots) -> Any:
        """The binding of the slots' arrays; a new one if the slots' layout has changed."""
        layout, binding = self._bindings.get(slots, (None, None))
        if layout != slots.layout:
            binding = self._decoder.io_binding()
            for name in slots.arrays.keys() - self._copied_names:
                array = slots.arrays[name]
                shape = (slots.count, *array.shape[1:])
                _bind(binding.bind_input, name, array, shape, self.device)
            for name in self._cache_names:
                # input and output are the same memory, so the graph updates the cache in place
                array = slots.arrays[name.removeprefix("present_")]
                shape = (slots.count, *array.shape[1:])
                _bind(binding.bind_output, name, array, shape, self.device)
            self._bindings[slots] = (slots.layout, binding)
        return binding


def _bind(
    bind: Callable[..., None],
    name: str,
    array: Array,
    shape: tuple[int, ...],
    device: Device = CPU,
) -> None:
    element_type = BFLOAT16 if array.dtype == np.uint16 else array.dtype.type
    bind(name, device.name, 0, element_type, shape, device.address(array))


def _load(bundle: Bundle, name: str, threads: int, device: Device) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that sleeps between two operators wakes too late for the next one, so threads spin.
    # They spin for about the time of one operator, because a spinning thread blocks its core. A
    # step of a T5-small on two cores took 2.5 ms without spinning and 1.7 ms with it. onnxruntime's
    # default spins longer: also 1.7 ms, but three times as long beside a busy process.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.enable_mem_pattern = False  # it keeps a plan for every shape it has seen
    if device is not CPU:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = [(device.provider, device.options)]
    try:
        session = onnxruntime.InferenceSession(bundle.path(name), options, providers=providers)
    except Exception as error:  # onnxruntime's errors share no narrower class
        kind = BundleError if device is CPU else DeviceError  # the GPU's memory may be full
        raise kind(f"{bundle.path(name)}: onnxruntime cannot load it ({error})") from error
    if device is not CPU:
        _check_placement(session, bundle.path(name), device)
    return session


def _check_placement(session: Any, path: Path, device: Device) -> None:
    """Raises DeviceError if onnxruntime silently uses the CPU for the graph or for its caches."""
    if device.provider not in session.get_providers():
        raise DeviceError(f"onnxruntime cannot use {device.title}; its messages above say why")
    elsewhere = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != device.provider
        for node in part.get_nodes()
    }
    if misplaced := elsewhere & CACHE_OPS:
        raise DeviceError(
            f"{path}: onnxruntime computes {' and '.join(sorted(misplaced))} of this precision on "
            f"the CPU, so caches would leave {device.title} at every step; export another precision"
        )

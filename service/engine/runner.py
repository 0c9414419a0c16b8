"""Runners: the interface that computes a student's steps, and a step's input and output."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from export.bundle import Geometry
from service.engine.devices import Device
from service.engine.slots import Array, Slots


class StepInput(NamedTuple):
    """The T new tokens of each of n rows, under the names of the decoder's inputs."""

    input_ids: Array  # [n,T] int64
    positions: Array  # [n,T] int64, the position of each token in its own sequence
    visible: Array  # [n,T,M] bool, the cache entries that each token attends to, with new ones
    target_ids: Array  # [n,T] int64, the tokens whose log-probability is asked for


class StepOutput(NamedTuple):
    """The decoder's output for each new token, under the names of its outputs: [n,T] each.

    Log-probabilities are in nats.
    """

    next_id: Array  # int64, the most probable next token
    next_logprob: Array  # float32
    target_logprob: Array  # float32


class Runner(Protocol):
    """Encodes prompts and takes decoder steps.

    One thread takes the steps. At the same time, `encoders` other threads may encode.
    """

    model: Geometry
    device: Device
    encoders: int

    def new_slots(self, capacity: int) -> Slots:
        """Slots for `capacity` sequences, all free."""

    def encode(self, ids: list[int]) -> Mapping[str, Array]:
        """The cross keys and values [1,H,S,Dk] of a prompt, by the names of the decoder's inputs.

        The S tokens are encoded alone, so other prompts change no digit.
        """

    def step(self, slots: Slots, new: StepInput) -> StepOutput:
        """The decoder's output for the new tokens of every slot in use, [n,T] each.

        Writes the new keys and values [n,H,T,Dk] to the caches, after each row's kept entries.
        """

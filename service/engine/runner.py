"""Runners: what computes the steps of a student, and what goes into a step and comes out."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from export.bundle import Geometry
from service.engine.devices import Device
from service.engine.slots import Array, Slots


class StepInput(NamedTuple):
    """The T new tokens of each of n rows, under the names of the decoder's inputs."""

    input_ids: Array  # [n,T] int64
    positions: Array  # [n,T] int64, the place of each token in its own sequence
    visible: Array  # [n,T,M] bool, the cache entries that each token attends to, new ones included
    target_ids: Array  # [n,T] int64, tokens whose log-probability is wanted


class StepOutput(NamedTuple):
    """What the decoder says after each new token, under the names of its outputs: [n,T] each.

    Log-probabilities are in nats.
    """

    next_id: Array  # int64, the most probable next token
    next_logprob: Array  # float32
    target_logprob: Array  # float32


class Runner(Protocol):
    """Encodes prompts and takes decoder steps.

    One thread takes the steps. `encoders` other threads may encode meanwhile.
    """

    model: Geometry
    device: Device
    encoders: int

    def new_slots(self, capacity: int) -> Slots:
        """Slots for so many sequences, all of them free."""

    def encode(self, ids: list[int]) -> Mapping[str, Array]:
        """The cross keys and values [1,H,S,Dk] of a prompt, by the names of the decoder's inputs.

        The S tokens are encoded alone, so that no other prompt changes a digit.
        """

    def step(self, slots: Slots, new: StepInput) -> StepOutput:
        """What the decoder says after the new tokens of every slot in use.

        Writes their keys and values [n,H,T,Dk] to the caches of `slots`, after what each keeps.
        """

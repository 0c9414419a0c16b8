"""Texts from greedy decoding: rationales and open labels, with drafts that a step verifies.

A step computes a text's last token and its draft as a chain. The text keeps the draft's tokens up
to the first one that greedy decoding would not write, and adds one token more. So drafts change the
number of steps, and nothing else (Leviathan et al., 2023).
"""

from collections.abc import Callable

from export.bundle import Geometry
from service.engine.confidence import confidence_of
from service.engine.draft import Drafter
from service.engine.prediction import Score
from service.engine.sequence import Proposal, Sequence
from tasks.calibration import Calibration


class TextSequence(Sequence):
    """A text after a prompt, up to the end token or `max_tokens`. Without a drafter: no drafts.

    With `explains`, the text waits for that label. The label's tokens are then its decoder prefix.
    """

    def __init__(
        self,
        prompt: list[int],
        max_tokens: int,
        drafter: Drafter | None = None,
        explains: Sequence | None = None,
    ) -> None:
        super().__init__(prompt)
        self.max_tokens = max_tokens
        self.drafter = drafter
        self.explains = explains  # the label's sequence
        self.logprob = 0.0  # nats, of all tokens together
        self.cached = 0  # kept cache entries

    @property
    def ready(self) -> bool:
        """Whether the explained label is known, if there is one."""
        return self.explains is None or self.explains.done

    def propose(self, model: Geometry, most: int, floor: float) -> Proposal:
        """The tokens that the decoder must read next, then a draft."""
        read = self.tokens[-1:] or self._decoder_prefix(model.decoder_start_id)
        draft: list[int] = []
        right: list[float] = []
        # just after a label the next words are hard to guess, and a wrong draft costs time
        if self.drafter is not None and len(read) == 1:
            room = min(self.max_tokens - len(self.tokens) - 1, max(0, most - 1))
            draft, right = self.drafter.draft(room, floor, model.eos_id)
        return Proposal([*read, *draft], [1.0] * len(read) + right, least=len(read))

    def accept(
        self, proposal: Proposal, next_ids: list[int], logprobs: list[float], end_id: int
    ) -> range:
        """Adds the draft's right tokens, and the token that the decoder chose after them."""
        draft, before = proposal.ids[proposal.least :], proposal.least - 1
        chosen = next_ids[before:]
        right = 0
        while right < len(draft) and draft[right] == chosen[right] != end_id:
            right += 1
        new = chosen[: right + 1]
        self.tokens += new
        for logprob in logprobs[before : before + right + 1]:
            self.logprob += logprob  # one by one, as without drafts: no digit differs
        self.drafted += len(draft)
        self.accepted += right
        if self.drafter is not None:
            self.drafter.extend(new)
            self.drafter.learn(sum(proposal.useful[proposal.least :]), right)
        self.done = new[-1] == end_id or len(self.tokens) == self.max_tokens
        self.cached += before + len(new)
        return range(self.cached)

    def scores(
        self, calibration: Calibration, decode: Callable[[list[int]], str]
    ) -> tuple[Score, ...]:
        """One score: the probability that the whole text is right."""
        return (Score(decode(self.tokens), confidence_of(self.logprob, calibration)),)

    def _decoder_prefix(self, start_id: int) -> list[int]:
        label = [] if self.explains is None else self.explains.tokens
        if self.drafter is not None and label:
            self.drafter.extend(label)
        return [start_id, *label]

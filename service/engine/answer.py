"""Answers: the results of a request's sequences, as text, scores and figures."""

from dataclasses import dataclass

from export.bundle import Manifest
from service.engine.prediction import Prediction, PredictRequest, Timings, Usage
from service.engine.sequence import EngineRequest
from service.engine.text import TextProcessor
from tasks.equations import evaluate_equation
from tasks.placeholders import Codec


@dataclass
class Answer:
    """The answer to a request, while it is computed and after.

    The request's first sequence gives the label. The second, if there is one, gives the rationale.
    """

    asked: PredictRequest
    request: EngineRequest
    manifest: Manifest
    text: TextProcessor
    codec: Codec  # of the input
    truncated: bool  # whether the input was too long and was cut at its end
    tokenization: float = 0.0  # seconds

    @property
    def has_label(self) -> bool:
        return self.request.sequences[0].finished is not None

    def written(self) -> str:
        """The part of the rationale that later tokens cannot change.

        Empty if the request asks for no rationale. Safe to call while the engine adds tokens.
        """
        tokens = [token for text in self.request.sequences[1:] for token in text.tokens]
        return self.codec.unmask_settled(self.text.decode_settled(tokens))

    def prediction(self) -> Prediction:
        """The prediction as far as it is known. Call it only when `has_label` is true.

        It holds a rationale only when the whole rationale is written.
        """
        request, task = self.request, self.manifest.task
        label, *explained = request.sequences
        seconds = [
            None if sequence.finished is None else sequence.finished - request.admitted
            for sequence in request.sequences
        ]
        assert seconds[0] is not None
        scores = label.scores(self.manifest.calibration, self._label_text)
        best = scores[0]
        rationale = None
        if explained and seconds[-1] is not None:
            rationale = self.codec.unmask_rationale(self.text.decode(explained[0].tokens))
        return Prediction(
            model=self.manifest,
            label=best.label,
            confidence=best.score,
            answer=evaluate_equation(best.label) if task.answer == "arithmetic" else None,
            scores=scores[: self.asked.top_k],
            rationale=rationale,
            decoder_passes=len(request.sequences),
            usage=Usage(
                input_tokens=len(label.prompt),
                label_tokens=len(label.tokens),
                rationale_tokens=sum(len(sequence.tokens) for sequence in explained),
                decoder_steps=request.steps,
                accepted_tokens=sum(sequence.accepted for sequence in request.sequences),
                truncated=self.truncated,
            ),
            timings=Timings(
                tokenization=self.tokenization,
                queue=request.admitted - request.submitted,
                inference=max(filter(None, seconds)),
                label=seconds[0],
                rationale=seconds[-1] if explained else None,
            ),
        )

    def _label_text(self, tokens: list[int]) -> str:
        return self.codec.unmask_label(self.text.decode(tokens))

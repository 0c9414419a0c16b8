"""The peers: each answers `Work` in every way it can, to be measured in a process of its own."""

import statistics
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from tests.benchmarks.work import Answers, Work

THREADS = 2
TRIAL_SECONDS = 0.1

Ids = list[list[int]]
Way = tuple[Callable[[], Any], Callable[[Any], Answers]]  # what is timed, and what reads the result


class Peer(ABC):
    """A runtime with one model loaded."""

    @abstractmethod
    def ways(self, work: Work) -> dict[str, Way]:
        """Every correct way to do the work, with its inputs made ready."""

    def fastest(self, works: Sequence[Work]) -> str:
        """The way that takes the shortest time, warmed up: the best of what fits TRIAL_SECONDS."""
        seconds: dict[str, float] = defaultdict(float)
        for work in works:
            for name, (run, _) in self.ways(work).items():
                run()
                times = [seconds_of(run)[0]]
                while sum(times) < TRIAL_SECONDS:
                    times.append(seconds_of(run)[0])
                seconds[name] += min(times)
        return min(seconds, key=lambda name: seconds[name])

    def turn(self, work: Work, way: str, at_least: float) -> tuple[float, Answers]:
        """The median of the seconds that the work took, again and again for `at_least` seconds."""
        run, read = self.ways(work)[way]
        times: list[float] = []
        while sum(times) < at_least:
            seconds, result = seconds_of(run)
            times.append(seconds)
        return statistics.median(times), read(result)

    def each(self, works: Sequence[Work], way: str) -> list[tuple[float, Answers]]:
        """Seconds and answers of each, one by one; the first is done once more before."""
        done = []
        for work in [works[0], *works]:
            run, read = self.ways(work)[way]
            seconds, result = seconds_of(run)
            done.append((seconds, read(result)))
        return done[1:]


def seconds_of(run: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


class Generator(Peer):
    """A runtime that generates texts, and scores given ones; it combines the two itself."""

    def __init__(self, checkpoint: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))

    @abstractmethod
    def generation(self, prompts: Ids, tokens: int, exact: bool) -> Callable[[], Ids]:
        """What generates greedily, of at most (or of exactly) `tokens` tokens."""

    @abstractmethod
    def scoring(self, prompts: Ids, candidates: Ids) -> Callable[[], list[int]]:
        """What finds the most probable of the candidates, for each prompt."""

    def ways(self, work: Work) -> dict[str, Way]:
        write = self.generation(work.rationale_prompts, work.rationale_tokens, work.exact)
        if work.wants == "rationale":
            return {"generate": (write, lambda ids: self._answers([], ids))}
        closed = work.candidates is not None
        label = self.generation(work.label_prompts, work.label_tokens, work.exact)
        pick = None
        if work.candidates is not None:  # and then the label may be written too, as if by luck
            encoded = [self.tokenizer.encode(text).ids for text in work.candidates]
            pick = self.scoring(work.label_prompts, encoded)

        def picked(best: list[int], rationales: Ids) -> Answers:
            assert work.candidates is not None
            answers = self._answers([], rationales)
            return replace(answers, labels=[work.candidates[i] for i in best])

        if work.wants == "label":
            ways: dict[str, Way] = {
                "generate": (label, lambda ids: self._answers([] if closed else ids, []))
            }
            if pick is not None:
                ways["score"] = (pick, lambda best: picked(best, []))
            return ways
        count = len(work.texts)
        together = self.generation(
            [*work.label_prompts, *work.rationale_prompts], work.rationale_tokens, work.exact
        )
        ways = {
            "generate, generate": (
                lambda: (label(), write()),
                lambda both: self._answers([] if closed else both[0], both[1]),
            ),
            "generate together": (
                together,
                lambda ids: self._answers(
                    [] if closed else [tokens[: work.label_tokens] for tokens in ids[:count]],
                    ids[count:],
                ),
            ),
        }
        if pick is not None:
            ways["score, generate"] = (lambda: (pick(), write()), lambda both: picked(*both))
        return ways

    def _answers(self, labels: Ids, rationales: Ids) -> Answers:
        return Answers(
            [self.text(ids) for ids in labels],
            [self.text(ids) for ids in rationales],
            [len(ids) for ids in rationales],
        )

    def text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()


class Transformers(Generator):
    """transformers on torch, in fp32."""

    def __init__(self, checkpoint: Path) -> None:
        import torch
        from transformers import T5ForConditionalGeneration

        super().__init__(checkpoint)
        torch.set_num_threads(THREADS)
        self.model: Any = T5ForConditionalGeneration.from_pretrained(checkpoint).eval()

    def generation(self, prompts: Ids, tokens: int, exact: bool) -> Callable[[], Ids]:
        inputs = self._padded(prompts)
        config = self.model.generation_config
        skipped = {config.pad_token_id, config.decoder_start_token_id}

        def run() -> Ids:
            ids = self.model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                max_new_tokens=tokens,
                min_new_tokens=tokens if exact else None,
            )
            rows: Ids = ids[:, 1:].tolist()
            return rows if exact else [[i for i in row if i not in skipped] for row in rows]

        return run

    def scoring(self, prompts: Ids, candidates: Ids) -> Callable[[], list[int]]:
        import torch

        from export.reference import pad

        inputs, count = self._padded(prompts), len(candidates)
        labels = torch.from_numpy(pad(candidates, -100)[0]).repeat(len(prompts), 1)  # [B*C,T]
        start = torch.full_like(labels[:, :1], self.model.config.decoder_start_token_id)
        before = torch.cat([start, labels[:, :-1].clamp(min=0)], 1)
        mask = inputs["attention_mask"].repeat_interleave(count, 0)
        encoder = self.model.get_encoder()

        @torch.inference_mode()
        def run() -> list[int]:
            encoded = encoder(**inputs)  # once for all candidates
            encoded["last_hidden_state"] = encoded[0].repeat_interleave(count, 0)
            outputs = self.model(
                encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=before
            )
            losses = torch.nn.functional.cross_entropy(
                outputs.logits.transpose(1, 2), labels, reduction="none"
            )
            best: list[int] = losses.sum(1).view(len(prompts), count).argmin(1).tolist()
            return best

        return run

    def _padded(self, prompts: Ids) -> dict[str, Any]:
        import torch

        from export.reference import pad

        ids, mask = map(torch.from_numpy, pad(prompts, self.model.config.pad_token_id))
        return {"input_ids": ids, "attention_mask": mask}


class Optimum(Transformers):
    """Optimum on onnxruntime, in fp32. It is called as transformers is."""

    def __init__(self, checkpoint: Path, folder: Path) -> None:
        import onnxruntime
        import torch
        from optimum.onnxruntime import ORTModelForSeq2SeqLM

        Generator.__init__(self, checkpoint)
        torch.set_num_threads(THREADS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        self.model = ORTModelForSeq2SeqLM.from_pretrained(folder, session_options=options)


class CTranslate2(Generator):
    """CTranslate2, in fp32 or int8."""

    def __init__(
        self, checkpoint: Path, folder: Path, compute_type: str, threads: int = THREADS
    ) -> None:
        import ctranslate2

        super().__init__(checkpoint)
        self.translator = ctranslate2.Translator(
            str(folder), compute_type=compute_type, intra_threads=threads, inter_threads=1
        )

    def generation(self, prompts: Ids, tokens: int, exact: bool) -> Callable[[], Ids]:
        sources = self._names(prompts)

        def run() -> Ids:
            results = self.translator.translate_batch(
                sources,
                beam_size=1,
                max_decoding_length=tokens,
                min_decoding_length=tokens if exact else 1,
            )
            return [
                [self.tokenizer.token_to_id(name) for name in result.hypotheses[0]]
                for result in results
            ]

        return run

    def scoring(self, prompts: Ids, candidates: Ids) -> Callable[[], list[int]]:
        sources = [source for source in self._names(prompts) for _ in candidates]
        targets = [names[:-1] for names in self._names(candidates)] * len(
            prompts
        )  # it adds the end

        def run() -> list[int]:
            results = self.translator.score_batch(sources, targets)
            sums = np.array([sum(result.log_probs) for result in results])
            best: list[int] = sums.reshape(len(prompts), -1).argmax(1).tolist()
            return best

        return run

    def _names(self, rows: Ids) -> list[list[str]]:
        return [[self.tokenizer.id_to_token(i) for i in row] for row in rows]

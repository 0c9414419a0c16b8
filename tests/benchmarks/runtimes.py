"""The other runtimes. Each is imported only in the process of its own peer."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peers import THREADS, Generator, Ids, Peer, Way
from tests.benchmarks.work import Work


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


class Translator(Generator):
    """CTranslate2, which computes a batch in `workers` parts at the same time."""

    def __init__(
        self, checkpoint: Path, folder: Path, compute_type: str, workers: int, threads: int
    ) -> None:
        import ctranslate2

        super().__init__(checkpoint)
        self.workers = workers
        self.translator = ctranslate2.Translator(
            str(folder), compute_type=compute_type, inter_threads=workers, intra_threads=threads
        )

    def generation(self, prompts: Ids, tokens: int, exact: bool) -> Callable[[], Ids]:
        sources = self._names(prompts)

        def run() -> Ids:
            results = self.translator.translate_batch(
                sources,
                beam_size=1,
                max_decoding_length=tokens,
                min_decoding_length=tokens if exact else 1,
                max_batch_size=self._part(sources),
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
            results = self.translator.score_batch(
                sources, targets, max_batch_size=self._part(sources)
            )
            sums = np.array([sum(result.log_probs) for result in results])
            best: list[int] = sums.reshape(len(prompts), -1).argmax(1).tolist()
            return best

        return run

    def _names(self, rows: Ids) -> list[list[str]]:
        return [[self.tokenizer.id_to_token(i) for i in row] for row in rows]

    def _part(self, sources: Sequence[Any]) -> int:
        return math.ceil(len(sources) / self.workers)


class CTranslate2(Peer):
    """CTranslate2, in fp32 or int8: all threads for one batch, or each thread for a part of it."""

    def __init__(self, checkpoint: Path, folder: Path, compute_type: str) -> None:
        self.translators = {
            f"{workers} × {threads} threads": Translator(
                checkpoint, folder, compute_type, workers, threads
            )
            for workers, threads in ((1, THREADS), (THREADS, 1))
        }

    def ways(self, work: Work) -> dict[str, Way]:
        return {
            f"{name}, {threads}": way
            for threads, translator in self.translators.items()
            for name, way in translator.ways(work).items()
        }

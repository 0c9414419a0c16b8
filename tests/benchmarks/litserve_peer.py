"""LitServe with dynamic batching over CTranslate2: `python -m tests.benchmarks.litserve_peer`."""

import argparse
from pathlib import Path
from typing import Any

import litserve

from tests.benchmarks.geometry import LABEL_TOKENS
from tests.benchmarks.peers import Ids, seconds_of
from tests.benchmarks.runtimes import Translator


class LabelAndRationale(litserve.LitAPI):
    """Answers a batch with one call for all labels, and one for the rationales asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(max_batch_size=options.max_batch_size, batch_timeout=options.batch_timeout)
        self.options = options

    def setup(self, device: str) -> None:
        options = self.options
        self.peer = Translator(
            options.checkpoint, options.folder, options.compute_type, 1, options.threads
        )
        self.candidates = [self.peer.tokenizer.encode(label).ids for label in options.candidates]
        # the faster way to labels on this machine
        prompts = [self._ids("predict: ", "w9 " * (options.input_tokens - 2))] * 8
        ways = self.score, self.write
        for way in ways:
            way(prompts)
        self.label = min(
            ways, key=lambda way: min(seconds_of(lambda: way(prompts))[0] for _ in "12")
        )

    def decode_request(self, request: dict[str, Any]) -> tuple[str, bool]:
        return request["inputs"], request.get("explain", False)

    def predict(self, batch: list[tuple[str, bool]]) -> list[dict[str, str]]:
        labels = self.label([self._ids("predict: ", text) for text, _ in batch])
        explained = [self._ids("explain: ", text) for text, explain in batch if explain]
        rationales: Ids = []
        if explained:
            rationales = self.peer.generation(explained, self.options.rationale_tokens, True)()
        written = map(self.peer.text, rationales)
        return [
            {"label": label} | ({"rationale": next(written)} if explain else {})
            for label, (_, explain) in zip(labels, batch, strict=True)
        ]

    def encode_response(self, output: dict[str, str]) -> dict[str, str]:
        return output

    def score(self, prompts: Ids) -> list[str]:
        best = self.peer.scoring(prompts, self.candidates)()
        return [self.options.candidates[i] for i in best]

    def write(self, prompts: Ids) -> list[str]:
        return [self.peer.text(ids) for ids in self.peer.generation(prompts, LABEL_TOKENS, True)()]

    def _ids(self, prefix: str, text: str) -> list[int]:
        ids: list[int] = self.peer.tokenizer.encode(prefix + text).ids
        return ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--compute-type", required=True)
    parser.add_argument("--candidates", nargs="+", required=True)
    parser.add_argument("--input-tokens", type=int, required=True)
    parser.add_argument("--rationale-tokens", type=int, required=True)
    parser.add_argument("--max-batch-size", type=int, required=True)
    parser.add_argument("--batch-timeout", type=float, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    server = litserve.LitServer(
        LabelAndRationale(options),
        accelerator="cpu",
        workers_per_device=options.workers,
        timeout=False,
    )
    server.run(host="127.0.0.1", port=options.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()

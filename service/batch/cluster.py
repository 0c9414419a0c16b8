"""The work on a cluster: Ray Data hands shards to engines, which read and write them themselves."""

import asyncio
import json
import logging
import os
import signal
import threading
from collections import Counter
from dataclasses import asdict
from types import FrameType
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext

from service.batch.progress import Progress
from service.batch.settings import BatchSettings
from service.batch.shards import Output, Tally
from service.batch.sources import Survey, open_source
from service.batch.work import Stopped, Worker, WorkFailed
from service.engine.memory import map_large_arrays
from service.server import STOP_SIGNALS, kill_at_next

SHARDS_AT_ONCE = 2  # of an engine, so that it stays full where one ends and the next begins


class ClusterWorker:
    """A worker in an actor of its own. Several threads call it."""

    def __init__(self, settings: BatchSettings, todo: list[int], survey: Survey) -> None:
        map_large_arrays()
        source = open_source(settings.input)
        self._worker = Worker(settings, source)
        self._todo, self._survey, self._output = todo, survey, Output(settings.output)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="duet-batch", daemon=True).start()

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        work = self._worker.answer([self._todo[row["id"]]], self._survey, self._output)
        tally = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        return {"tally": json.dumps(asdict(tally))}


def answer_on_cluster(
    settings: BatchSettings, todo: list[int], survey: Survey, output: Output, progress: Progress
) -> Tally:
    """Raises WorkFailed, and Stopped after SIGINT or SIGTERM, without the shards in work.

    Shards are given out again where the node or the process that had them dies.
    """
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    _connect()
    for signum in STOP_SIGNALS:
        signal.signal(signum, _stop)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    shards = ray.data.range(len(todo), override_num_blocks=len(todo)).map(
        ClusterWorker,
        fn_constructor_args=(settings, todo, survey),
        compute=ActorPoolStrategy(
            min_size=1,
            max_concurrent_calls_per_actor=SHARDS_AT_ONCE,
            enable_true_multi_threading=True,
        ),
        num_cpus=settings.threads,
        num_gpus=settings.ray_gpus,
    )
    tally = Tally()
    try:
        for row in shards.iter_rows():
            facts = json.loads(row["tally"])
            of_shard = Tally(facts["rows"], Counter(facts["errors"]), facts["first_error"])
            tally.add(of_shard)
            progress.add(of_shard.rows)
    except ray.exceptions.RayError as error:
        raise WorkFailed(f"--ray: {_reason(error)}") from error
    finally:
        ray.shutdown()
    return tally


def _connect() -> None:
    if "RAY_ADDRESS" in os.environ:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    else:  # a cluster of this machine alone, which tells nobody of itself
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)


def _stop(signum: int, frame: FrameType | None) -> None:
    kill_at_next(STOP_SIGNALS)
    raise Stopped(signum)


def _reason(error: Exception) -> str:
    """The last line of what a worker raised, which comes with the traceback that it had there."""
    return str(error).strip().splitlines()[-1]

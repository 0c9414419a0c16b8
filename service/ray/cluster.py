"""The work on a Ray cluster: Ray Data gives shards to engines, which read and write files."""

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
from collections import Counter
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext

from service.bulk.progress import Progress
from service.bulk.rows import open_input
from service.bulk.settings import BulkSettings
from service.bulk.shards import Output, Tally
from service.bulk.stopping import stoppable
from service.bulk.survey import Survey
from service.bulk.work import FAILURES, Worker, WorkFailed
from service.engine.memory import map_large_arrays

SHARDS_AT_ONCE = 2  # for each engine: it stays full when a shard ends


class ClusterWorker:
    """A worker in a Ray actor. Several threads call it.

    It returns failures as values. Ray would print a long traceback of an exception, and try again.
    """

    def __init__(self, settings: BulkSettings, todo: list[int], survey: Survey) -> None:
        map_large_arrays()
        self._todo, self._survey, self._output = todo, survey, Output(settings.output)
        self._loop = asyncio.new_event_loop()
        self._failure = ""
        try:
            self._worker = Worker(settings, open_input(settings.input))
        except FAILURES as error:
            self._failure = str(error)
        threading.Thread(target=self._loop.run_forever, name="duet-bulk", daemon=True).start()

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        if self._failure:
            return {"failure": self._failure, "tally": ""}
        work = self._worker.answer([self._todo[row["id"]]], self._survey, self._output)
        try:
            tally = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except FAILURES as error:
            return {"failure": str(error), "tally": ""}
        return {"failure": "", "tally": json.dumps(vars(tally))}


def answer_on_cluster(
    settings: BulkSettings, todo: list[int], survey: Survey, progress: Progress
) -> Tally:
    """The tally of the shards. A shard is given out again if its node or process dies.

    Raises WorkFailed. Raises Stopped after SIGINT or SIGTERM; the current shards are lost.
    """
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):  # Ray prints its retries
        _connect()
        with stoppable():  # Ray has handlers of its own
            return _answer(settings, todo, survey, progress)


def _answer(settings: BulkSettings, todo: list[int], survey: Survey, progress: Progress) -> Tally:
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
            if row["failure"]:
                raise WorkFailed(f"--ray: {row['failure']}")
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
    else:  # a cluster on this machine, without usage reports
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)


def _reason(error: BaseException) -> str:
    """The first line of the first cause. Ray adds many lines."""
    while isinstance(cause := getattr(error, "cause", None) or error.__cause__, BaseException):
        error = cause
    first, _, _ = str(error).strip().partition("\n")
    return f"{type(error).__name__}: {first}"

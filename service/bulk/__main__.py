"""Answers the rows of a file: `python -m service.bulk --help` lists every setting."""

import asyncio
import sys
from pathlib import Path
from typing import Final

import onnxruntime
from pydantic import ValidationError
from pydantic_settings import SettingsError

from export.bundle import Manifest
from export.verify import read_manifest
from service import __version__
from service.bulk.progress import Progress
from service.bulk.rows import RequestMaker, open_input
from service.bulk.settings import BulkSettings
from service.bulk.shards import Output, OutputError, Run, Tally
from service.bulk.stopping import Stopped, stoppable
from service.bulk.survey import Survey, survey
from service.bulk.work import FAILURES, Worker, WorkFailed
from service.engine.memory import map_large_arrays
from service.server import STOP_SIGNALS, kill_at_next
from service.settings import problem_of
from tasks.command_line import from_command_line
from tasks.row_files import RowFile

RATED_ROWS: Final = 1000  # of fewer, the start takes too much of the time to tell a rate


def main(arguments: list[str] | None = None, prog: str = "python -m service.bulk") -> int:
    map_large_arrays()
    try:
        with stoppable():
            return run(from_command_line(BulkSettings, arguments, prog))
    except ValidationError as error:
        _tell(problem_of(error))
    except (*FAILURES, OutputError, SettingsError) as error:
        _tell(str(error))
    except Stopped as stopped:
        _tell("stopped; the same command goes on")
        return stopped.exit_status
    return 2


def run(settings: BulkSettings) -> int:
    file, manifest = open_input(settings.input), read_manifest(settings.model)
    requests = RequestMaker(manifest, settings)
    if file.columns is not None:
        requests.check_columns(file.columns)
    surveyed = survey(file, settings.shard_rows)
    facts = _facts(settings, manifest, surveyed)
    with Output(settings.output) as output:
        output.claim(facts, settings.force)
        tally, finished = Tally(), output.finished(surveyed)
        for of_shard in finished.values():
            tally.add(of_shard)
        if 0 < len(finished) < len(surveyed.begins):
            _tell(f"goes on after {tally.rows:,} of {surveyed.rows:,} rows")
        todo = [shard for shard in range(len(surveyed.begins)) if shard not in finished]
        progress = Progress(surveyed.rows, tally.rows)
        try:
            if todo:
                tally.add(_answer(settings, file, todo, surveyed, output, progress))
        finally:
            progress.close()
        result = {"rows": tally.rows, "errors": dict(sorted(tally.errors.items()))}
        output.write_manifest({**facts, "result": result})
    _report(tally, progress, settings.output)
    return 1 if tally.errors else 0


def _answer(
    settings: BulkSettings,
    file: RowFile,
    todo: list[int],
    surveyed: Survey,
    output: Output,
    progress: Progress,
) -> Tally:
    if settings.ray:
        try:
            from service.ray.cluster import answer_on_cluster
        except ImportError as error:
            raise WorkFailed(
                f"--ray: Ray is missing ({error}); install Duet's extra ray: pip install '.[ray]'"
            ) from error
        return answer_on_cluster(settings, todo, surveyed, progress)
    worker = Worker(settings, file)
    try:
        return asyncio.run(_until_stopped(worker, todo, surveyed, output, progress))
    finally:
        worker.close()


async def _until_stopped(
    worker: Worker, todo: list[int], surveyed: Survey, output: Output, progress: Progress
) -> Tally:
    """The tally of the shards. Raises Stopped on SIGINT or SIGTERM; the current shard is lost."""
    loop, received = asyncio.get_running_loop(), 0
    work = asyncio.create_task(worker.answer(todo, surveyed, output, progress.add))

    def stop(signum: int) -> None:
        nonlocal received
        received = signum
        for each in STOP_SIGNALS:
            loop.remove_signal_handler(each)
        kill_at_next(STOP_SIGNALS)
        work.cancel()

    for signum in STOP_SIGNALS:
        loop.add_signal_handler(signum, stop, signum)
    try:
        return await work
    except asyncio.CancelledError:
        raise Stopped(received) from None


def _facts(settings: BulkSettings, manifest: Manifest, surveyed: Survey) -> Run:
    """Everything that the shards depend on."""
    return {
        "input": {
            "source": settings.input.name,
            "sha256": surveyed.sha256,
            "rows": surveyed.rows,
        },
        "model": {
            "source": str(settings.model),
            "name": manifest.name,
            "version": manifest.version,
            "checksum": manifest.checksum,
        },
        "settings": settings.model_dump(
            mode="json",
            include={
                *("explain", "columns", "keep", "top_k", "max_rationale_tokens", "truncate"),
                *("shard_rows", "device"),
            },
        ),
        "software": {"duet": __version__, "onnxruntime": onnxruntime.__version__},
    }


def _report(tally: Tally, progress: Progress, folder: Path) -> None:
    failed = tally.errors.total()
    print(f"{tally.rows - failed:,} of {tally.rows:,} rows are answered, in {folder}")
    if failed:
        kinds = ", ".join(f"{kind}: {count:,}" for kind, count in tally.errors.most_common())
        print(
            f"{failed:,} failed ({kinds}), the first in line {tally.first_error}. The record of "
            "such a row has `error_type`"
        )
    if progress.rows >= RATED_ROWS:
        rate = progress.rows / progress.seconds
        print(f"{rate:,.0f} rows/s: {1e6 / rate / 3600:.2f} hours for a million")


def _tell(text: str) -> None:
    print("batch:", " ".join(text.split()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

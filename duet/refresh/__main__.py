"""Distils a student anew, and puts it in the place of a served one if it is not worse.

Checks everything that can be checked before it trains. Then it distils RECIPE into CHECKPOINT, fits
its confidence, exports it, compares it with BUNDLE on the rows of DATA, replaces BUNDLE and makes
the service at URL load it. If the service does not load it, BUNDLE is put back. DUET_ADMIN_KEY must
be one of the service's DUET_ADMIN_KEYS. To continue a stopped refresh, give the same command again.

Exit code 0: the new student answers. 1: it is worse; nothing is replaced. 2: something is wrong.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from duet.refresh.admission import replace, same_student
from duet.refresh.checks import (
    check_data,
    check_recipe,
    check_rows,
    check_served,
    read_bundle,
    recover,
    recover_unloaded,
)
from duet.refresh.errors import RefreshError
from duet.refresh.running_service import RunningService
from duet.refresh.stages import comparing, making
from export.admit import Verdict
from export.bundle import BundleError
from export.replacing import kept_beside
from export.verify import read_manifest
from tasks.durable_files import open_locked


def main(argv: list[str] | None = None, prog: str = "python -m duet.refresh") -> int:
    arguments = _parser(prog).parse_args(argv)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with RunningService(arguments.url, os.environ.get("DUET_ADMIN_KEY", "")) as service:
            _refresh(arguments, service)
    except RefreshError as error:
        print(f"refresh: {error}", file=sys.stderr)
        return error.status
    except (BundleError, OSError) as error:
        print(f"refresh: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("refresh: stopped; nothing is replaced; the same command goes on", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for duet distill")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder for the new student, its own"
    )
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that is served")
    parser.add_argument(
        "--data",
        required=True,
        help="labelled rows that no student was trained on, with the recipe's columns",
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the service")
    parser.add_argument(
        "--name", help="what the service calls the model, if it serves it under an alias"
    )
    parser.add_argument(
        "--version",
        default=datetime.now(UTC).strftime("%Y%m%d.%H%M%S"),
        help="version of the new bundle (default: the time)",
    )
    return parser


def _refresh(arguments: argparse.Namespace, service: RunningService) -> None:
    bundle: Path = arguments.bundle
    checkpoint: Path = arguments.checkpoint
    if not bundle.exists() and not kept_beside(bundle).exists():
        read_bundle(bundle)  # which says what to do
    with _locked(bundle):
        if done := recover(bundle):
            _say(done)
        manifest = read_bundle(bundle)
        name = arguments.name or manifest.name
        if done := recover_unloaded(bundle, manifest, service.sources().get(name)):
            _say(done)
            manifest = read_bundle(bundle)
        source = check_served(service, name, bundle, manifest)
        check_data(arguments.data)
        config = check_recipe(arguments.recipe, arguments.overrides, bundle, manifest)
        check_rows(arguments.data, config, manifest)
        state = "is served" if source.checksum else "can be loaded, as a new model,"
        _say(f"{name}, version {manifest.version}, {state} at {service.url} from {bundle}")

        checkpoint.mkdir(parents=True, exist_ok=True)
        log, new = checkpoint / "refresh.log", checkpoint / "bundle"
        make = making(
            *(arguments.recipe, arguments.overrides, checkpoint),
            *(arguments.data, arguments.version),
        )
        compare = comparing(
            *(arguments.recipe, arguments.overrides, checkpoint),
            *(bundle, arguments.data),
        )
        steps = len(make) + len(compare) + 1
        _say(f"{steps} steps; what they print is in {log}")
        for number, stage in enumerate([*make, *compare], 1):
            _say(f"{number}. {stage.title}")
            stage.run(log)
            if number == len(make) and same_student(read_manifest(new), manifest):
                if not source.checksum:
                    service.load(name)
                _say(
                    f"the student in {checkpoint} is the one in {bundle}: nothing to replace; "
                    f"version {manifest.version} of {name} answers at {service.url}"
                )
                return
        verdict = checkpoint / "gate" / "verdict.json"
        _say(Verdict.model_validate_json(verdict.read_bytes()).sentence)
        _say(f"{steps}. replace {bundle}, and load it at {service.url}")
        replace(service, name, new, verdict, bundle, manifest.version)
        _say(
            f"version {arguments.version} of {name} answers now at {service.url}; version "
            f"{manifest.version} is kept in {kept_beside(bundle)}"
        )


@contextmanager
def _locked(bundle: Path) -> Iterator[None]:
    """Lets one refresh at a time replace a bundle. Raises RefreshError if another one runs."""
    try:
        file = open_locked(bundle.parent / f".{bundle.absolute().name}.lock")
    except BlockingIOError as error:
        raise RefreshError(
            f"{bundle}: another refresh of it is running; wait for its end"
        ) from error
    with file:
        yield


def _say(sentence: str) -> None:
    print(f"refresh: {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

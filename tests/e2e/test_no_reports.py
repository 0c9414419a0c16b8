"""The service tells nobody of itself."""

import subprocess
import sys
from pathlib import Path

from tests.support.server_process import ROOT, TIMEOUT, command, environment


def test_onnxruntime_keeps_no_id_to_report_by(tmp_path: Path) -> None:
    """Where it reports, it writes an id of the machine to the cache folder, as it is imported."""
    clean = environment(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    clean.pop("ORT_DISABLE_TELEMETRY", None)
    exporting = [sys.executable, "-c", "import export.bundle, onnxruntime"]
    for arguments in (command("--check"), exporting):
        subprocess.run(arguments, cwd=ROOT, env=clean, timeout=TIMEOUT, check=True)
    assert list(tmp_path.rglob("*")) == []

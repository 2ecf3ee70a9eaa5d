"""The demo: `python -m depth_estimation_ros.demo.run` starts a camera, the depth node and a listener, and shows depth.

Three separate processes talk over real DDS, as on a robot. Heavy libraries are imported after the signal handlers are
in place, so that Ctrl-C is clean from the first moment.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from depth_estimation_ros.demo.arguments import parse_arguments
from depth_estimation_ros.demo.processes import STOPPING_SIGNALS, Interrupted, Interruption

if TYPE_CHECKING:
    from rich.console import Console

    from depth_estimation_ros.demo.recording import Recording
    from depth_estimation_ros.demo.watch import Settings

NEEDED = {
    "rclpy": "pip install '.[ros]' in the package's folder, or source your ROS 2 installation",
    "rich": "pip install '.[demo]' in the package's folder",
    "matplotlib": "pip install '.[demo]' in the package's folder",
    "cv2": "pip install opencv-python-headless",
    "onnxruntime": "pip install onnxruntime",
}
USAGE_STATUS = 2


def _demand_libraries() -> str | None:
    """Return a sentence about the first library that is missing, None where all are there."""
    for library, remedy in NEEDED.items():
        if importlib.util.find_spec(library) is None:
            return f"The demo needs {library}, which is not installed here: {remedy}."
    return None


def _show(arguments: argparse.Namespace, settings: Settings, interruption: Interruption, console: Console) -> None:
    """Run the demo from the source to the pictures."""
    from depth_estimation_ros.demo.frames import GivenIntrinsics
    from depth_estimation_ros.demo.results import clear_results, write_results
    from depth_estimation_ros.demo.session import ASSUMED_HFOV_DEG, prepare, run_processes
    from depth_estimation_ros.demo.sources import open_source
    from depth_estimation_ros.inference.model_file import resolve_model

    resolve_model(settings.model)
    given = GivenIntrinsics(arguments.hfov_deg, arguments.fx, arguments.fy)
    source = open_source(arguments.source, arguments.frames, given)
    console.print(f"Source: {source.description}.")
    logs = arguments.output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    clear_results(arguments.output)
    with _recording(arguments.output, interruption) as recording:
        prepared = prepare(source, recording, vars(given), console)
        if not prepared.calibrated:
            console.print(
                f"Nothing is known of this camera's lens: CameraInfo goes out uncalibrated and the node assumes "
                f"{ASSUMED_HFOV_DEG:g} degrees across; give --hfov-deg or --fx for a true scale."
            )
        plan = {"frame_count": prepared.frame_count, "webcam": source.webcam, "given": vars(given)}
        recording.write_json("plan", {**plan, "rate_hz": settings.rate_hz, "timeout_s": settings.timeout_s})
        report = run_processes(recording, logs, prepared, settings, interruption, console)
        write_results(recording, report, arguments.output, settings.rate_hz, arguments.source == "room", console)


@contextmanager
def _recording(output: Path, interruption: Interruption) -> Iterator[Recording]:
    """Lend a folder for one run, which is gone afterwards, whatever signal comes when."""
    from depth_estimation_ros.demo.recording import Recording

    interruption.deferred = True
    folder = tempfile.mkdtemp(prefix=".recording-", dir=output)
    try:
        interruption.deferred = False
        interruption.check()
        yield Recording(Path(folder))
    finally:
        interruption.deferred = True
        shutil.rmtree(folder, ignore_errors=True)


def _attempt(argv: Sequence[str] | None, interruption: Interruption, node_module: str | None) -> int:
    arguments = parse_arguments(argv)
    if missing := _demand_libraries():
        print(missing, file=sys.stderr)
        return USAGE_STATUS
    from rich.console import Console

    from depth_estimation_ros.demo.sources import SourceError
    from depth_estimation_ros.demo.watch import DemoError, Settings
    from depth_estimation_ros.inference.model_file import ModelFileError

    settings = Settings(
        arguments.rate, arguments.timeout, arguments.model, arguments.device, node_module or Settings.node_module
    )
    try:
        _show(arguments, settings, interruption, Console(highlight=False))
    except (SourceError, ModelFileError) as error:
        print(error, file=sys.stderr)
        return USAGE_STATUS
    except DemoError as error:
        print("\n".join(filter(None, (str(error), error.details))), file=sys.stderr)
        return 1
    except OSError as error:
        place = error.filename or arguments.output
        print(
            f"Cannot write or read {place}: {error.strerror or error}; free or choose another --output.",
            file=sys.stderr,
        )
        return 1
    return 0


def main(argv: Sequence[str] | None = None, node_module: str | None = None) -> int:
    """Run the demo.

    Args:
        argv: The command line, by default the process's own.
        node_module: Another module to run in place of the node; the demo's own tests use it.

    Returns:
        0 when depth came and every check held, 1 when not, 2 for a wrong command line or source, 128 + the signal's
        number (130 for Ctrl-C) when stopped.
    """
    interruption = Interruption()
    before = {signum: signal.getsignal(signum) for signum in STOPPING_SIGNALS}
    interruption.install()
    try:
        return _attempt(argv, interruption, node_module)
    except Interrupted as interrupted:
        print(f"\nStopped by {interrupted}.", file=sys.stderr)
        return 128 + interrupted.signum
    finally:
        for signum, handler in before.items():
            # The process is about to end: a second Ctrl-C must not break into Python's own tidying up.
            signal.signal(signum, signal.SIG_IGN if argv is None else handler)


if __name__ == "__main__":
    sys.exit(main())

"""Child processes that leave nothing behind: own process groups, signals in turn with bounded waits, own ROS domain."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a stopped child gets, and how long it may take over it.
PATIENCE_S = ((signal.SIGINT, 4.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))
GREATEST_DOMAIN_ID = 101  # above it, ports meet Linux's ephemeral ones
LOG_TAIL_LINES = 25
# util-linux's: the kernel ends the child when this process is gone, even by SIGKILL, of which it learns nothing itself.
TIED_TO_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")


class Interrupted(KeyboardInterrupt):
    """The user (or the system) wants the demo to end; `signum` is the signal that said so."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Interruption:
    """Turns the first stopping signal into `Interrupted`: at once, or, while `deferred`, when asked.

    While children are being started an exception between a fork and its bookkeeping would leave an orphan, and while
    things are tidied up, a second Ctrl-C would leave half of them.
    """

    def __init__(self) -> None:
        self.deferred = False
        self._signum: int | None = None

    def install(self) -> None:
        """Take over the stopping signals."""
        for signum in STOPPING_SIGNALS:
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:  # nohup wants to go on
                signal.signal(signum, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is None:
            self._signum = signum
            if not self.deferred:
                self.check()

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self._signum is not None:
            raise Interrupted(self._signum)


class Child:
    """A Python module run in a process group of its own, its output in a log file."""

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], log: Path, environment: dict[str, str]
    ) -> None:
        self.name, self.log = name, log
        tie = TIED_TO_PARENT if shutil.which(TIED_TO_PARENT[0]) else ()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*tie, sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def status(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self.process.poll()

    def log_tail(self) -> str:
        """Return the last lines it has printed."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def signal_group(self, signum: int) -> bool:
        """Signal the whole process group; False where none of it is left."""
        try:
            os.killpg(self.process.pid, signum)
        except ProcessLookupError:
            return False
        return True


def stop(children: Sequence[Child]) -> None:
    """End all children and what they started: SIGINT, then SIGTERM, then SIGKILL, each with its bounded wait."""
    alive = list(children)
    for signum, patience_s in PATIENCE_S:
        alive = [child for child in alive if child.signal_group(signum)]
        end_s = time.monotonic() + patience_s
        while alive and time.monotonic() < end_s:
            # A group lives on while any member does, its dead leader included until `poll` has read its status.
            alive = [child for child in alive if child.process.poll() is None or child.signal_group(0)]
            time.sleep(0.02)


def free_domain_id() -> int:
    """Return a ROS domain in which nobody on this machine takes part, as far as its ports tell.

    DDS participants of a domain listen on UDP ports 7400 + 250 * domain (multicast) and 10 above (the first one's own).
    """
    domains = list(range(1, GREATEST_DOMAIN_ID + 1))
    random.shuffle(domains)
    for domain in domains:
        try:
            for port in (7400 + 250 * domain, 7410 + 250 * domain):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("", port))
        except OSError:
            continue
        return domain
    return domains[0]


def ros_environment(domain_id: int, log_folder: Path) -> dict[str, str]:
    """Return this process's whole environment, set to a ROS domain on this machine only.

    The whole of it: the ROS wheels' start-up sets LD_LIBRARY_PATH once and a guard beside it, and a child with the
    guard but without the path cannot load rclpy.
    """
    environment = os.environ | {
        "ROS_DOMAIN_ID": str(domain_id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(log_folder),
        "ROS_HOME": str(log_folder),
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop("ROS_LOCALHOST_ONLY", None)
    environment.pop("ROS_STATIC_PEERS", None)
    if environment.get("ROS_DISTRO") == "humble":  # which does not know the newer variable
        environment["ROS_LOCALHOST_ONLY"] = "1"
    return environment

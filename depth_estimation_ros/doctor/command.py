"""The doctor's entry point: says in the same form what is missing for the doctor itself."""

from __future__ import annotations

from depth_estimation_ros.doctor.findings import Finding, exit_status, to_text


def main(args: list[str] | None = None) -> int:
    """Run the doctor; see `run.main`."""
    try:
        from depth_estimation_ros.doctor import run
        from depth_estimation_ros.doctor.collector import Collector  # noqa: F401  what it imports is the question
    except ImportError as error:
        missing = Finding(
            "ERROR",
            f"the package cannot be imported whole: {error}",
            "source the workspace's install/setup.bash, and `rosdep install --from-paths src --ignore-src -y` in it",
        )
        print(to_text([missing]))
        return exit_status([missing])
    return run.main(args)

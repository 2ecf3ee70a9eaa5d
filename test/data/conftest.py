"""Real NYU Depth V2 pairs: the folder in NYU2_DATA, or ../shared/data/nyu2 beside the checkout."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "nyu2"


@pytest.fixture(scope="session")
def nyu2() -> Path:
    folder = Path(os.environ.get("NYU2_DATA", BESIDE))
    if not (folder / "test_public.csv").is_file():
        pytest.skip(f"no NYU Depth V2 pairs in {folder}: set NYU2_DATA to a folder with train.csv and test_public.csv")
    return folder

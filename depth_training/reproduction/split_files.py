"""The paper's 79 : 20 : 1 split as CSV files (sections 2.4 and 4), and the same shares with rooms kept whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from depth_training.checkpoint import RunError
from depth_training.data.pairs import Pair, PairsError, read_depth, read_pairs, read_table
from depth_training.data.splits import consecutive_blocks
from depth_training.protocols import NYU_EIGEN
from depth_training.reproduction.paper import SPLIT_SHARES

PARTS = ("train", "validation", "test")


def split_folder(output: Path, kind: str, subset: bool) -> Path:
    """Where the three files of a split lie."""
    return output / "splits" / (f"{kind}_subset" if subset else kind)


def read_relocatable(csv: Path) -> pd.DataFrame:
    """Read a CSV of pairs with absolute paths and an ``index``, so that its rows mean the same in another folder.

    Raises:
        PairsError: The file cannot be used.
    """
    pairs = read_pairs(csv)
    table = read_table(csv, ("image", "depth"))
    table["image"] = [str(pair.image.resolve()) for pair in pairs]
    table["depth"] = [str(pair.depth.resolve()) for pair in pairs]
    # Without one the row number would stand in, which is another one in every part.
    table = table.drop(columns=[name for name in ("nyu_index", "index") if name in table.columns])
    return table.assign(index=[pair.index for pair in pairs], scene=[pair.scene for pair in pairs])


def take_subset(table: pd.DataFrame, images: int, seed: int = 0) -> pd.DataFrame:
    """Draw so many pairs at random, in the order of the table; all where there are no more."""
    return table.sample(n=min(images, len(table)), random_state=seed).sort_index()


def split_table(table: pd.DataFrame, kind: str, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Split into train, validation and test by the paper's shares.

    Args:
        table: With ``index`` and ``scene``.
        kind: ``frames`` shuffles single pairs with pandas, as the paper does; ``blocks`` shuffles runs of consecutive
            indices (or scenes, where known), so that no room is in two parts. A part of blocks may be larger than its
            share by less than one block.
        seed: Of the shuffle.

    Returns:
        Part name to its rows, in the order of the table.

    Raises:
        PairsError: A part would be empty.
    """
    if kind == "frames":
        units = [[label] for label in table.sample(frac=1, random_state=seed).index]
    else:
        units = _blocks(table)
        np.random.default_rng(seed).shuffle(units)  # type: ignore[arg-type]
    # Smallest share first: the last part takes what is left, so the large one bears the rounding.
    wanted = {"test": SPLIT_SHARES[2], "validation": SPLIT_SHARES[1]}
    labels: dict[str, list] = {part: [] for part in PARTS}
    for unit in units:
        part = next((name for name, share in wanted.items() if len(labels[name]) < share * len(table) / 100), "train")
        labels[part].extend(unit)
    empty = [part for part in PARTS if not labels[part]]
    if empty:
        raise PairsError(
            f"the {kind} split of {len(table)} pairs by {':'.join(map(str, SPLIT_SHARES))} leaves nothing for "
            f"{' and '.join(empty)}: more pairs are needed; for blocks, a column index or scene that tells "
            "rooms apart, or --only '*frames*'"
        )
    return {part: table.loc[sorted(labels[part])] for part in PARTS}


def _blocks(table: pd.DataFrame) -> list[list]:
    columns = (table["image"], table["depth"], table["index"], table["scene"])
    pairs = [
        Pair(Path(image), Path(depth), index, scene=scene) for image, depth, index, scene in zip(*columns, strict=True)
    ]
    label_of = {id(pair): label for pair, label in zip(pairs, table.index, strict=True)}
    return [[label_of[id(pair)] for pair in block] for block in consecutive_blocks(pairs)]


def _names(table: pd.DataFrame, folder: Path) -> list[tuple[str, ...]]:
    # Prepared sets all number their files from 0 in images/ and depth/: the folder above tells them apart.
    return [(folder / path).resolve().parts[-3:] for name in ("image", "depth") for path in table[name]]


def write_pairs(table: pd.DataFrame, csv: Path) -> None:
    """Write a table of :func:`read_relocatable` with paths relative to the file.

    Raises:
        RunError: The file is there and lists other pairs.
    """
    if csv.is_file():
        begun_with = pd.read_csv(csv)
        if _names(begun_with, csv.parent) != _names(table, Path()):
            raise RunError(
                f"{csv} lists {len(begun_with)} pairs, other ones than the {len(table)} of now: the finished "
                "experiments there were made with other data; give another --output"
            )
    csv.parent.mkdir(parents=True, exist_ok=True)
    here = csv.parent.resolve()
    paths = {
        name: [Path(os.path.relpath(path, here)).as_posix() for path in table[name]] for name in ("image", "depth")
    }
    whole = csv.with_name(f"{csv.name}.part")
    table.assign(**paths).to_csv(whole, index=False)
    os.replace(whole, csv)


def refuse_size(csv: Path) -> None:
    """Refuse pairs that the paper's protocol does not judge, by the first of them.

    Raises:
        PairsError: Its size is another than the protocol's, or the file cannot be used.
    """
    pair = read_pairs(csv)[0]
    height, width = read_depth(pair.depth).shape
    if not NYU_EIGEN.fits(height, width):
        raise PairsError(
            f"{pair.depth} is {width}x{height}, and the experiments are judged as the paper's are, at "
            f"{NYU_EIGEN.width}x{NYU_EIGEN.height}: give pairs of that size"
        )


def write_splits(
    pairs: Path, test: Path, output: Path, subset_images: int, wanted: Iterable[tuple[str, bool]]
) -> dict[str, int]:
    """Write the splits' files and the held-out test's, and refuse data that differ from those the folder has.

    Args:
        pairs: CSV of what to split.
        test: CSV of the held-out test.
        output: Folder of the reproduction.
        subset_images: Size of the subset.
        wanted: Each kind of split, and whether of the subset.

    Returns:
        How many pairs there are in ``all``, ``subset`` and ``heldout``.

    Raises:
        PairsError: Pairs that cannot be used or are too few, or pairs that are in the test as well.
        RunError: The folder was begun with other pairs.
    """
    table, heldout = read_relocatable(pairs), read_relocatable(test)
    both = sorted(set(table["image"]) & set(heldout["image"]))
    if both:
        raise PairsError(
            f"{len(both)} images are in {pairs} and in {test} (first: {both[0]}): a test of what was trained on says "
            "nothing; take them out of one"
        )
    subset = take_subset(table, subset_images)
    for kind, is_subset in sorted(set(wanted)):
        for part, part_rows in split_table(subset if is_subset else table, kind).items():
            write_pairs(part_rows, split_folder(output, kind, is_subset) / f"{part}.csv")
    write_pairs(heldout, output / "splits" / "heldout.csv")
    return {"all": len(table), "subset": len(subset), "heldout": len(heldout)}

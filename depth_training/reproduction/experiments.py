"""What is run: one entry per row of the paper's tables, per split and per seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depth_training.config import ConfigError, TrainingConfig, load_config

MOBILENET, SQUEEZENET = "mobilenet_v2", "squeezenet1_0"
ROWS = {
    MOBILENET: "MobileNetV2",
    SQUEEZENET: "SqueezeNet",
    "normalization": "Normalization",
    "grayscale": "Grayscale",
    "none": "None",
    "rotation": "Normalization + rotation",
}
ROTATION_DEG = 10.0


@dataclass(frozen=True)
class Preset:
    """How large the experiments are.

    Attributes:
        name: ``cpu`` or ``paper``.
        overrides: Settings over :class:`TrainingConfig`'s defaults, the same for every experiment.
        widths: Decoder widths by encoder.
        epochs: Passes over the training images by table.
        seeds: How many seeds by table.
        subset_images: Pairs that table 2 and the rotation experiment are limited to; split like the whole set.
    """

    name: str
    overrides: tuple[str, ...]
    widths: dict[str, tuple[int, ...]]
    epochs: dict[str, int]
    seeds: dict[str, int]
    subset_images: int


def _size(height: int, width: int) -> tuple[str, ...]:
    return tuple(f"data.{key}={value}" for key, value in (
        ("height", height), ("width", width), ("native_height", height), ("native_width", width)
    ))  # fmt: skip


PRESETS = {
    # Two hours on two cores that have AVX2 only, with NYU Depth V2's 795 training pairs. Table 1's rows lie far apart,
    # table 2's do not, so that a second seed goes there.
    "cpu": Preset(
        "cpu",
        _size(192, 256),
        {MOBILENET: (128, 64, 32, 16), SQUEEZENET: (64, 32, 16)},
        {"table1": 10, "table2": 14, "rotation": 14},
        {"table1": 1, "table2": 2, "rotation": 2},
        400,
    ),
    # For a GPU. The paper names neither batch size nor widths; these widths halve the bottleneck's channels block by
    # block, as its reference [1] does.
    "paper": Preset(
        "paper",
        (*_size(480, 640), "data.workers=4"),
        {MOBILENET: (640, 320, 160, 80), SQUEEZENET: (256, 128, 64)},
        {"table1": 7, "table2": 7, "rotation": 7},
        {"table1": 3, "table2": 3, "rotation": 3},
        2000,
    ),
}


@dataclass(frozen=True)
class Experiment:
    """One run.

    Attributes:
        table: ``table1``, ``table2`` or ``rotation`` (the claim of section 2.2).
        row: A key of :data:`ROWS`.
        encoder: As in the configuration.
        split: ``frames`` (the paper's shuffle of single frames) or ``blocks`` (rooms kept whole).
        seed: Of initialisation, order and augmentation; the split is the same for all seeds.
        subset: Whether it runs on the preset's subset of the pairs.
        overrides: Settings that make this row.
    """

    table: str
    row: str
    encoder: str
    split: str
    seed: int
    subset: bool
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.table}_{self.row}_{self.split}_seed{self.seed}"


def list_experiments(preset: Preset, seeds: int | None = None) -> list[Experiment]:
    """Every run of a preset, all rows with the first seed before any with the second.

    Args:
        preset: How large the runs are; says how many seeds each table has.
        seeds: Seeds in place of the preset's, 1 or more.
    """
    plain = "data.grayscale=0.0"
    rows: list[tuple[str, str, str, str, bool, tuple[str, ...]]] = [
        ("table1", row, row, split, False, ("network.normalise=true", plain))
        for split in ("frames", "blocks")
        for row in (MOBILENET, SQUEEZENET)
    ]
    rows += [
        ("table2", "normalization", MOBILENET, "frames", True, ("network.normalise=true", plain)),
        ("table2", "grayscale", MOBILENET, "frames", True, ("network.normalise=false", "data.grayscale=0.5")),
        ("table2", "none", MOBILENET, "frames", True, ("network.normalise=false", plain)),
        # One change from table 2's row Normalization, which it is compared with.
        ("rotation", "rotation", MOBILENET, "frames", True,
         ("network.normalise=true", plain, f"data.rotation_deg={ROTATION_DEG}", "data.turn=1.0")),
    ]  # fmt: skip
    experiments = [
        Experiment(table, row, encoder, split, seed, subset, overrides)
        for table, row, encoder, split, subset, overrides in rows
        for seed in range(seeds or preset.seeds[table])
    ]
    return sorted(experiments, key=lambda experiment: experiment.seed)


def training_config(
    experiment: Experiment,
    preset: Preset,
    split_folder: Path,
    encoder_weights: dict[str, str],
    overrides: Sequence[str] = (),
) -> TrainingConfig:
    """Resolve the settings of one run; what is not named keeps the defaults, which follow the paper.

    Args:
        experiment: The run.
        preset: Its size.
        split_folder: Holds ``train.csv`` and ``validation.csv``.
        encoder_weights: By encoder; ``imagenet`` where none is given.
        overrides: The user's, over all others.

    Raises:
        ConfigError: An override that does not fit, or one of what makes an experiment.
    """
    refuse_experiment_keys(overrides)
    widths = list(preset.widths[experiment.encoder])
    config = load_config(
        None,
        [
            "data.pairs=train.csv",
            *preset.overrides,
            f"name={experiment.name}",
            f"network.encoder={experiment.encoder}",
            f"network.widths={widths}",
            f"data.split={experiment.split}",
            f"optimiser.epochs={preset.epochs[experiment.table]}",
            f"optimiser.seed={experiment.seed}",
            *experiment.overrides,
            *overrides,
        ],
    )
    # Not by way of the list: a path may hold what YAML takes for its own.
    config.data.pairs = str(split_folder / "train.csv")
    config.data.validation_pairs = str(split_folder / "validation.csv")
    config.encoder_weights = encoder_weights.get(experiment.encoder, "imagenet")
    return config


OWN_KEYS = (
    "name", "encoder_weights", "init", "data.test_share", "data.replay_pairs",
    "loss.name", "loss.teacher", "network.confidence",
    "network.encoder", "network.normalise", "data.pairs", "data.validation_pairs",
    "data.validation_share", "data.split", "data.grayscale", "data.rotation_deg", "optimiser.seed",
)  # fmt: skip


def refuse_experiment_keys(overrides: Sequence[str]) -> None:
    """Refuse to override what the experiments differ in.

    Raises:
        ConfigError: Such an override.
    """
    wrong = [override for override in overrides if override.partition("=")[0] in OWN_KEYS]
    if wrong:
        raise ConfigError(
            f"{', '.join(wrong)} is what the experiments of `reproduce` set themselves: leave it out, or use `train`"
        )

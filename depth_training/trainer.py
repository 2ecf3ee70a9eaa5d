"""pytorch-lightning's trainer as a run's settings want it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import nn

from depth_training.callbacks import ExamplePictures, LastCheckpoint, LastingEarlyStopping, Progress, WholeCheckpoints
from depth_training.config import ConfigError, MachineConfig, TrainingConfig
from depth_training.data.epoch_order import EpochBatches
from depth_training.network.depth_network import DepthNetwork


def build_callbacks(config: TrainingConfig, run: Path, order: EpochBatches, validated: bool) -> list[Callback]:
    """What happens beside the steps.

    Args:
        config: Of the run.
        run: Its folder.
        order: Of the training batches, which the checkpoint knows.
        validated: Whether there is a validation set to choose and to stop by.

    Raises:
        ConfigError: The last epoch is to be kept, and validation is to say which that is.
    """
    settings = config.optimiser
    if settings.early_stopping and settings.kept_epoch == "last" and validated:
        raise ConfigError(
            f"optimiser.kept_epoch=last with early_stopping={settings.early_stopping}: the images held apart would say "
            "which epoch is the last, and flatter it; set optimiser.early_stopping=0, or kept_epoch=best"
        )
    # With nothing held apart nothing can choose: the last epoch is the one to keep.
    chosen_by = "val/abs_rel" if validated and settings.kept_epoch == "best" else None
    callbacks: list[Callback] = [
        ModelCheckpoint(run, filename="best", monitor=chosen_by, mode="min", enable_version_counter=False),
        # After the best one, so that it knows which that is.
        LastCheckpoint(run / "last.ckpt", order, settings.checkpoint_steps),
        Progress(leave=True),
        LearningRateMonitor("epoch"),
        ExamplePictures(),
    ]
    if settings.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=settings.ema_decay))
    if settings.early_stopping and validated:
        callbacks.append(LastingEarlyStopping("val/abs_rel", mode="min", patience=settings.early_stopping))
    return callbacks


def build_trainer(config: TrainingConfig, run: Path, callbacks: list[Callback]) -> pl.Trainer:
    """A trainer on the devices that the configuration names, with its logs in the run's folder."""
    settings, machine = config.optimiser, config.machine
    several = machine.processes > 1
    return pl.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        strategy="ddp" if several else "auto",
        # The batches are shared out by EpochBatches, validation by PartOfAll: nothing twice.
        use_distributed_sampler=False,
        max_epochs=settings.epochs,
        precision=cast(Any, settings.precision),
        gradient_clip_val=settings.clip_norm or None,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=[CSVLogger(run, name="logs"), TensorBoardLogger(run, name="", version="tensorboard")],
        default_root_dir=run,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        enable_model_summary=False,
    )


def synchronise_norms(network: DepthNetwork, machine: MachineConfig) -> None:
    """Let several GPUs take the statistics of the whole batch, as one process does; in place.

    The decoder's alone: the encoder's never move, and those of EfficientNet-lite are norm and activation in one, of
    which the conversion would leave the norm. There is no such layer for a CPU.
    """
    several = machine.processes > 1
    if several and machine.accelerator != "cpu" and torch.cuda.is_available():
        network.decoder = nn.SyncBatchNorm.convert_sync_batchnorm(network.decoder)


def check_processes(machine: MachineConfig, batch_size: int) -> None:
    """See that a batch can be shared out evenly.

    Raises:
        ConfigError: It cannot.
    """
    processes = machine.processes
    if machine.devices < 1 or machine.nodes < 1 or batch_size % processes:
        raise ConfigError(
            f"optimiser.batch_size={batch_size} cannot be shared out to machine.devices={machine.devices} on each of "
            f"machine.nodes={machine.nodes}: both are at least 1, and the batch a multiple of their product"
        )

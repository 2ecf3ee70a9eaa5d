"""The training loop (paper, section 2.4) on pytorch-lightning: checkpoints, resume, seeds, progress."""

from __future__ import annotations

import errno
import logging
import warnings
import zipfile
from pathlib import Path
from typing import Any, cast

import cv2
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from depth_training.checkpoint import RunError, build_contract, save_checkpoint
from depth_training.config import DataConfig, TrainingConfig, save_config
from depth_training.data.dataset import FullPairs, TrainingPairs
from depth_training.data.splits import training_and_validation_pairs
from depth_training.losses import build_loss, confidence_nll
from depth_training.metrics import DepthMetrics
from depth_training.network.depth_network import DepthNetwork

logger = logging.getLogger(__name__)


class DepthModule(pl.LightningModule):
    """One network with its loss, optimiser and validation metrics."""

    def __init__(self, config: TrainingConfig):
        super().__init__()
        self.config = config
        # Channels last is how CPU and GPU kernels for convolutions want their data: half the time in bf16.
        self.network = DepthNetwork(config.network, config.encoder_weights).to(memory_format=torch.channels_last)
        self.loss = build_loss(config.loss)
        self.validation_metrics = DepthMetrics()

    def _predict(self, image: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network((image.float() / 255).contiguous(memory_format=torch.channels_last))
        return tuple(output.float() for output in outputs)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Loss at the network's output size (half the crop), as in the paper's reference [1]."""
        image, truth_m = batch
        predicted_m, *sigma = self._predict(image)  # (B, 1, h/2, w/2)
        truth_m = F.interpolate(truth_m, size=predicted_m.shape[-2:], mode="nearest-exact")
        terms = self.loss(predicted_m, truth_m)
        if sigma:
            terms["confidence"] = confidence_nll(sigma[0], predicted_m, truth_m)
            terms["loss"] = terms["loss"] + self.config.loss.confidence_weight * terms["confidence"]
        if not torch.isfinite(terms["loss"]):
            raise RunError(
                f"the loss is {terms['loss'].item()} at step {self.global_step} (epoch {self.current_epoch}, batch "
                f"{batch_index}): lower optimiser.learning_rate or set optimiser.clip_norm; the last checkpoint is kept"
            )
        self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()}, on_step=False, on_epoch=True)
        self.log("loss", terms["loss"].detach(), prog_bar=True, logger=False)
        return terms["loss"]

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Metrics at full size under the protocol, on whole images."""
        image, truth_m = batch
        predicted_m = self._predict(image)[0]
        predicted_m = F.interpolate(predicted_m, size=truth_m.shape[-2:], mode="bilinear", align_corners=False)
        self.validation_metrics.update(predicted_m, truth_m)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics; ``val/abs_rel`` chooses the checkpoint."""
        for name, value in self.validation_metrics.compute().items():
            self.log(f"val/{name}", value.float(), prog_bar=name in ("abs_rel", "delta1"))
        self.validation_metrics.reset()

    def configure_optimizers(self):
        """AdamW (plain Adam without decay) with the encoder, where it learns, at its own lower rate."""
        settings = self.config.optimiser
        encoder = [p for p in self.network.encoder.parameters() if p.requires_grad]
        ours = {id(p) for p in self.network.encoder.parameters()}
        rest = [p for p in self.network.parameters() if id(p) not in ours]
        groups: list[dict] = [{"params": rest, "lr": settings.learning_rate}]
        if encoder:
            groups.append({"params": encoder, "lr": settings.learning_rate * settings.encoder_rate})
        optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        if settings.schedule == "constant":
            return optimiser
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=[group["lr"] for group in groups],
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=0.15,
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def build_loaders(config: DataConfig, batch_size: int, seed: int) -> tuple[DataLoader, DataLoader | None]:
    """Split the pairs and make the training and the validation loader, None where no pairs are held apart."""
    cv2.setNumThreads(1)  # loader processes inherit it: they are the parallelism
    training, validation = training_and_validation_pairs(config, seed)
    logger.info("%d training and %d validation pairs (%s)", len(training), len(validation), config.split)
    workers, keep = config.workers, config.workers > 0
    return (
        DataLoader(
            TrainingPairs(training, config),
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=keep,
        ),
        DataLoader(FullPairs(validation, config), batch_size, num_workers=workers, persistent_workers=keep)
        if validation
        else None,
    )


def _callbacks(config: TrainingConfig, run: Path, validated: bool) -> tuple[ModelCheckpoint, list[Callback]]:
    # With nothing held apart nothing can choose: the last epoch is the one to keep.
    chosen_by = "val/abs_rel" if validated else None
    best = ModelCheckpoint(run, filename="best", monitor=chosen_by, mode="min", enable_version_counter=False)
    # Saved at the end of training epochs, so that a killed run goes on from the last whole epoch.
    last = ModelCheckpoint(run, filename="last", every_n_epochs=1, enable_version_counter=False, save_top_k=1)
    callbacks: list[Callback] = [best, last, RichProgressBar(leave=True)]
    settings = config.optimiser
    if settings.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=settings.ema_decay))
    if settings.early_stopping and validated:
        callbacks.append(EarlyStopping("val/abs_rel", mode="min", patience=settings.early_stopping))
    return best, callbacks


def _checkpoint_to_resume(run: Path) -> Path | None:
    last = run / "last.ckpt"
    if not last.is_file():
        return None
    if not zipfile.is_zipfile(last):
        raise RunError(f"{last} was cut off while it was written: copy best.ckpt over it, or remove the run")
    return last


def train(config: TrainingConfig, run: Path, resume: bool = False) -> Path:
    """Train, keep the epoch with the best validation abs_rel (the last without validation), write it as a checkpoint.

    Args:
        config: Resolved settings; saved beside the run as ``config.yaml``.
        run: Folder of the run: ``last.ckpt`` and ``best.ckpt`` for resuming, ``model.safetensors``, and
            ``logs/version_N/metrics.csv``, a new N each time the run is resumed.
        resume: Go on from ``last.ckpt`` where there is one.

    Returns:
        Path of ``model.safetensors``, the best epoch with the model file's contract in its header.

    Raises:
        RunError: The loss is not finite, or the disk is full.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it sets itself to INFO when imported
    # It warns of its own internals, and of a folder that is there because the run is resumed.
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    pl.seed_everything(config.optimiser.seed, workers=True, verbose=False)
    run.mkdir(parents=True, exist_ok=True)
    save_config(config, run / "config.yaml")
    training, validation = build_loaders(config.data, config.optimiser.batch_size, config.optimiser.seed)
    best, callbacks = _callbacks(config, run, validation is not None)
    trainer = pl.Trainer(
        max_epochs=config.optimiser.epochs,
        precision=cast(Any, config.optimiser.precision),
        gradient_clip_val=config.optimiser.clip_norm or None,
        callbacks=callbacks,
        logger=CSVLogger(run, name="logs"),
        default_root_dir=run,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        enable_model_summary=False,
    )
    module = DepthModule(config)
    try:
        trainer.fit(
            module, training, validation, ckpt_path=_checkpoint_to_resume(run) if resume else None, weights_only=True
        )
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise RunError(f"the disk of {run} is full: free some space, then go on with --resume") from error
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict(state)
    metrics = {} if validation is None else validate(module, validation)
    if metrics:
        logger.info("best epoch: validation %s", ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return save_checkpoint(module.network, build_contract(config, metrics), run / "model.safetensors")


@torch.inference_mode()
def validate(module: DepthModule, loader: DataLoader) -> dict[str, float]:
    """Measure a network on a validation loader, outside the trainer."""
    module.eval()
    for index, batch in enumerate(loader):
        module.validation_step(batch, index)
    return {name: float(value) for name, value in module.validation_metrics.compute().items()}

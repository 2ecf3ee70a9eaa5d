"""What a run does beside training: checkpoints that are whole, early stopping that survives a restart, pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from depth_estimation_ros.depth_colour import depth_to_rgb
from depth_training.data.epoch_order import EpochBatches
from depth_training.files import write_whole

PICTURES = 3


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints under another name first: a kill while writing leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write one checkpoint; raises OSError where it cannot be written."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(Path(path), buffer.getbuffer())


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``: at the end of each epoch, and every so many steps within it.

    Args:
        path: Of the checkpoint.
        order: Of the training batches; a resumed run enters it where the checkpoint says.
        every_steps: Steps of an epoch between two checkpoints; 0 for none within it.
    """

    def __init__(self, path: Path, order: EpochBatches, every_steps: int = 0):
        super().__init__()
        self.path, self.order, self.every_steps = path, order, every_steps
        self.next_batch = (0, 0)

    def state_dict(self) -> dict[str, Any]:
        """Epoch and batch that come next."""
        return {"next_batch": list(self.next_batch)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Enter the data where the checkpoint was made; the trainer makes its loader after this."""
        self.order.start_at(*state_dict["next_batch"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the order of the epoch that begins."""
        self.order.set_epoch(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch. After its last batch comes the validation, and only then the checkpoint."""
        if self.every_steps and (batch_idx + 1) % self.every_steps == 0 and not trainer.is_last_batch:
            self._save(trainer, trainer.current_epoch, batch_idx + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what the next epoch begins with."""
        self._save(trainer, trainer.current_epoch + 1, 0)

    def _save(self, trainer: pl.Trainer, epoch: int, batch: int) -> None:
        self.next_batch = (epoch, batch)
        trainer.save_checkpoint(self.path)


def move_best(state: dict[str, Any], folder: Path) -> None:
    """Make the state of a ModelCheckpoint, in place, that of the folder where its files lie now.

    It drops what it knows of the best epoch where the folder is another one.
    """
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        if state.get(key):
            state[key] = str(folder / Path(state[key]).name)
    if "best_k_models" in state:
        state["best_k_models"] = {
            str(folder / Path(path).name): score for path, score in state["best_k_models"].items()
        }
    state["dirpath"] = str(folder)


class LastingEarlyStopping(EarlyStopping):
    """Early stopping that a restart does not undo: a run that had stopped is not taken up again."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once where the checkpoint says that patience was at its end."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class Progress(RichProgressBar):
    """The bar with losses and validation metrics, without the logger's version, which here is no number."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands behind the bar."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


class ExamplePictures(Callback):
    """Shows the first validation images in TensorBoard after every epoch: image, truth and prediction."""

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the examples of the first batch; ``outputs`` is the (B, 1, H, W) prediction in metres."""
        if batch_idx or not trainer.is_global_zero:
            return
        image, truth_m = batch
        panels = example_panels(image[:PICTURES], truth_m[:PICTURES], outputs[:PICTURES])
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for place, panel in enumerate(panels):
                    logger.experiment.add_image(f"validation/{place}", panel, trainer.global_step, dataformats="HWC")


def example_panels(image: Tensor, truth_m: Tensor, predicted_m: Tensor) -> list[np.ndarray]:
    """Image, truth and prediction side by side, at the image's size and on the truth's scale of colours.

    Args:
        image: (B, 3, h, w) uint8 RGB.
        truth_m: (B, 1, H, W) metres, 0 unknown.
        predicted_m: (B, 1, H, W) metres.

    Returns:
        B pictures of (h, 3 w, 3) uint8 RGB.
    """
    size = tuple(image.shape[-2:])
    panels = []
    for pixels, *maps in zip(image.cpu(), truth_m.float().cpu(), predicted_m.float().cpu(), strict=True):
        small = [torch.nn.functional.interpolate(m[None], size, mode="nearest-exact")[0, 0].numpy() for m in maps]
        known = small[0][small[0] > 0]
        near, far = (float(known.min()), float(known.max()) + 1e-3) if known.size else (0.1, 10.0)
        coloured = [depth_to_rgb(np.where(m > 0, m, np.nan), near, far) for m in small]
        panels.append(np.hstack([pixels.permute(1, 2, 0).numpy(), *coloured]))
    return panels

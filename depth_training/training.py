"""The training loop (paper, section 2.4) on pytorch-lightning: checkpoints, resume, seeds, several processes."""

from __future__ import annotations

import logging
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from depth_training.callbacks import move_best
from depth_training.checkpoint import RunError, build_contract, save_checkpoint
from depth_training.config import TrainingConfig, save_config
from depth_training.data.batch_shrink import shrink_batch, shrink_depth
from depth_training.data.dataset import is_training_camera
from depth_training.data.epoch_order import derived_seed, seeded_generator
from depth_training.data.loaders import plain_pairs_error, training_loader, validation_loader, whole_loader
from depth_training.data.pairs import PairsError
from depth_training.data.splits import parts_of_run
from depth_training.distillation import Teacher
from depth_training.files import is_full_disk
from depth_training.initialisation import load_weights
from depth_training.losses import build_loss, confidence_nll
from depth_training.metrics import DepthMetrics
from depth_training.network.depth_network import DepthNetwork
from depth_training.protocols import Protocol, validation_protocol
from depth_training.run_images import refuse_changed_images, save_images, warn_of_learnt
from depth_training.run_remarks import remarks_on_pairs
from depth_training.run_settings import FREE_KEYS, refuse_changed_settings
from depth_training.trainer import build_callbacks, build_trainer, check_processes, synchronise_norms

logger = logging.getLogger(__name__)

# Few, because a GPU looks for its kernels anew at each: with a size of its own for every batch an epoch took four times
# as long on an H200.
SHRINK_SIZES = 4


class DepthModule(pl.LightningModule):
    """One network with its loss, optimiser and validation metrics."""

    def __init__(self, config: TrainingConfig, protocol: Protocol | None = None):
        """Build the network, and what it is trained and judged by.

        Args:
            config: Of the run.
            protocol: Of the validation metrics; None for that of images of the training camera.
        """
        super().__init__()
        self.config = config
        # Channels last is how CPU and GPU kernels for convolutions want their data: half the time in bf16.
        self.network = DepthNetwork(config.network, None if config.init else config.encoder_weights)
        if config.init:
            load_weights(self.network, config.init)
        self.network.to(memory_format=torch.channels_last)
        # The trainer trains modules in the mode that they come in: a new one's encoder would move its statistics.
        self.network.train()
        self.loss = build_loss(config.loss)
        self.teacher = Teacher(config.loss.teacher, config.data) if config.loss.teacher else None
        self.validation_metrics = DepthMetrics(
            protocol or validation_protocol(config.data.camera_height, config.data.camera_width)
        )
        self.images: list[str] = []  # of the batch at work, for messages

    def _predict(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(output.float() for output in self.network(_network_input(image)))

    def on_fit_start(self) -> None:
        """Take the teacher along to the device."""
        if self.teacher is not None:
            self.teacher.to(self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let a run that was moved keep its best epoch; called before the callbacks take their state."""
        best = self.trainer.checkpoint_callback
        if isinstance(best, ModelCheckpoint) and best.dirpath:
            move_best(checkpoint["callbacks"].get(best.state_key, {}), Path(best.dirpath))

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Let what is drawn within a step follow from seed, step and process alone, as the samples do."""
        torch.manual_seed(derived_seed(self.config.optimiser.seed, self.global_step, self.global_rank))

    def training_step(self, batch: tuple[Tensor, Tensor, list[str]], batch_index: int) -> Tensor:
        """Loss at the network's output size (half the crop), as in the paper's reference [1]."""
        native_image, truth_m, self.images = batch
        image = native_image
        if (share := self._draw_shrink()) < 1:
            image, truth_m = shrink_batch(native_image, truth_m, share)
        predicted_m, *sigma = self._predict(image)  # (B, 1, h/2, w/2)
        truth_m = F.interpolate(truth_m, size=predicted_m.shape[-2:], mode="nearest-exact")
        terms = self.loss(predicted_m, truth_m)
        if self.teacher is not None:
            weight = self.config.loss.teacher_weight
            # Asked at the size that it knows, whatever the network that learns is shown.
            teacher_m = shrink_depth(self.teacher(_network_input(native_image)), predicted_m.shape[-2:])
            terms["teacher"] = self.loss(predicted_m, teacher_m)["loss"]
            terms["loss"] = (1 - weight) * terms["loss"] + weight * terms["teacher"]
        if sigma:
            terms["confidence"] = confidence_nll(sigma[0], predicted_m, truth_m)
            terms["loss"] = terms["loss"] + self.config.loss.confidence_weight * terms["confidence"]
        if not torch.isfinite(terms["loss"]):
            raise self._not_finite("the loss", terms["loss"].item())
        logged = {f"train/{name}": value.detach() for name, value in terms.items()}
        self.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True)
        self.log("loss", terms["loss"].detach(), prog_bar=True, logger=False)
        return terms["loss"]

    def _draw_shrink(self) -> float:
        data = self.config.data
        if not data.shrink:
            return 1.0
        # The same for all processes: the batch that they share is of one size.
        random = seeded_generator(self.config.optimiser.seed, self.global_step)
        drawn, place = torch.rand(2, generator=random).tolist()
        if drawn >= data.shrink:
            return 1.0
        step = int(place * SHRINK_SIZES) / SHRINK_SIZES
        return data.shrink_least + (1 - data.shrink_least) * step

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse a step along gradients that are not finite: no later one would mend the weights."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        # The scaler of 16-mixed leaves such a step out by itself, as its way to find the scale.
        if not torch.isfinite(norm) and self.config.optimiser.precision != "16-mixed":
            raise self._not_finite("the gradient", norm.item())

    def _not_finite(self, what: str, value: float) -> RunError:
        return RunError(
            f"{what} is {value} at step {self.global_step} (epoch {self.current_epoch}) on {', '.join(self.images)}: "
            "look at these pairs, lower optimiser.learning_rate or set optimiser.clip_norm; the last checkpoint is kept"
        )

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Metrics at full size under the protocol, on whole images; returns the (B, 1, H, W) prediction in metres."""
        image, truth_m = batch
        predicted_m = self._predict(image)[0]
        predicted_m = F.interpolate(predicted_m, size=truth_m.shape[-2:], mode="bilinear", align_corners=False)
        self.validation_metrics.update(predicted_m, truth_m)
        return predicted_m

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics; ``val/abs_rel`` chooses the checkpoint."""
        metrics = self.validation_metrics.compute()
        if metrics["abs_rel"].isnan():
            protocol = self.validation_metrics.protocol.describe()
            raise RunError(
                f"not one of the images held apart has a pixel to judge by ({protocol}): look at their depth and its "
                "unit, millimetres in 16-bit png"
            )
        for name, value in metrics.items():
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


def _network_input(image: Tensor) -> Tensor:
    return (image.float() / 255).contiguous(memory_format=torch.channels_last)


def _checkpoint_to_resume(run: Path) -> Path | None:
    last = run / "last.ckpt"
    if not last.is_file():
        return None
    if not zipfile.is_zipfile(last):
        raise RunError(f"{last} is cut off or no checkpoint: remove {run} and start again")
    return last


def train(config: TrainingConfig, run: Path, resume: bool = False) -> Path:
    """Train, keep one epoch (``optimiser.kept_epoch``; the last without validation), write it as a checkpoint.

    A run that was killed and resumed ends with the weights of one that was not, bit by bit on a CPU with as many
    threads. With several processes each calls this; the first one writes.

    Args:
        config: Resolved settings; saved beside the run as ``config.yaml``.
        run: Folder of the run, on a disk that all processes share: ``last.ckpt`` and ``best.ckpt`` for resuming,
            ``model.safetensors``, ``images.csv``, ``tensorboard/``, and ``logs/version_N/metrics.csv``, N counting the
            starts.
        resume: Go on from ``last.ckpt`` where there is one.

    Returns:
        Path of ``model.safetensors``, the best epoch with the model file's contract in its header.

    Raises:
        ConfigError: The batch cannot be shared out to so many processes.
        PairsError: The pairs cannot be used.
        RunError: Loss or gradient are not finite, no image held apart can be judged by, the disk is full, or the run
            was begun with other settings or images.
        KeyboardInterrupt: Stopped by the user.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it sets itself to INFO when imported
    # It warns of its own internals, and of a folder that is there because the run is resumed.
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    seed, batch_size = config.optimiser.seed, config.optimiser.batch_size
    check_processes(config.machine, batch_size)
    pl.seed_everything(seed, workers=True, verbose=False)
    is_resumed = resume and (run / "last.ckpt").is_file()
    if is_resumed and (run / "config.yaml").is_file():
        # Without a schedule a longer run begins as the shorter one did.
        longer = ("optimiser.epochs",) if config.optimiser.schedule == "constant" else ()
        refuse_changed_settings(run, config, "begun", (*FREE_KEYS, *longer))
    parts = parts_of_run(config.data, seed)
    training, validation = parts["training"], parts["validation"]
    if is_resumed:
        refuse_changed_images(run, parts, "give another --output")
    loader, order = training_loader(training, parts["replayed"], config.data, batch_size, seed)
    validating = validation_loader(validation, config.data, batch_size) if validation else None
    try:
        run.mkdir(parents=True, exist_ok=True)
        trainer = build_trainer(config, run, build_callbacks(config, run, order, bool(validation)))
        if trainer.is_global_zero:
            save_config(config, run / "config.yaml")
            save_images(run, parts)
            logger.info("%d training and %d validation pairs (%s)", len(training), len(validation), config.data.split)
            for remark in remarks_on_pairs(config, parts):
                logger.warning("%s", remark)
        own = all(is_training_camera(pair, config.data) for pair in validation)
        protocol = validation_protocol(config.data.camera_height, config.data.camera_width, own)
        module = DepthModule(config, protocol)
        synchronise_norms(module.network, config.machine)
        checkpoint = _checkpoint_to_resume(run) if resume else None
        trainer.fit(module, loader, validating, ckpt_path=checkpoint, weights_only=True)
        model = run / "model.safetensors"
        if trainer.is_global_zero:
            module.load_state_dict(torch.load(run / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"])
            metrics = validate(module, whole_loader(validation, config.data, batch_size)) if validation else {}
            if metrics:
                told = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
                logger.info("%s epoch: validation %s", config.optimiser.kept_epoch, told)
            learnt = warn_of_learnt(config, {"validation": validation})
            images = f"validation split{', perhaps learnt by the network it began from' if learnt else ''}"
            save_checkpoint(module.network, build_contract(config, metrics, protocol, images), model)
        return model
    except SystemExit as error:
        # pytorch-lightning turns Ctrl-C into an exit with status 1.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    except torch.cuda.OutOfMemoryError as error:
        raise RunError(
            f"the GPU has no memory left for batches of {batch_size}: lower optimiser.batch_size and start again; the "
            "last checkpoint is kept"
        ) from error
    except PairsError as error:
        raise plain_pairs_error(error) from error
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise RunError(
            f"the disk of {run} is full ({error.strerror}): free some space, then go on with --resume; the last "
            "checkpoint is kept"
        ) from error


@torch.inference_mode()
def validate(module: DepthModule, loader: DataLoader) -> dict[str, float]:
    """Measure a network on a validation loader, outside the trainer and in this process alone."""
    module.eval()
    module.validation_metrics = DepthMetrics(module.validation_metrics.protocol, sync_on_compute=False)
    for index, batch in enumerate(loader):
        module.validation_step(batch, index)
    return {name: float(value) for name, value in module.validation_metrics.compute().items()}

"""Pre-train the tiny CLIP: ``python -m taskbasis.models.tiny.pretrain`` re-creates the shipped weights."""

from __future__ import annotations

import argparse
import logging
import math
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from taskbasis.data.mini import MINI_VERSION
from taskbasis.models.tiny.drawings import concepts, draw_all, texts
from taskbasis.models.tiny.tokenizer import TinyTokenizer
from taskbasis.models.tiny.weights import IMAGE_SIZE, MEAN, SHIPPED, STD, build, save

logger = logging.getLogger(__name__)

CONTEXT_LENGTH = 16
MAX_LOGIT_SCALE = math.log(100)


def model_config(vocab_size: int) -> dict[str, Any]:
    """Arguments of open_clip's ``CLIP``; the activation is GELU, not QuickGELU."""
    return {
        "embed_dim": 64,
        "vision_cfg": {
            "image_size": IMAGE_SIZE,
            "patch_size": 8,
            "width": 128,
            "layers": 3,
            "head_width": 64,
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocab_size,
            "width": 64,
            "heads": 2,
            "layers": 2,
        },
        "quick_gelu": False,
    }


def caption_loss(
    images: torch.Tensor, captions: torch.Tensor, owner: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Contrastive loss between N images and the C distinct concepts they show.

    ``images`` (N, E) and ``captions`` (C, E) are unit vectors; image ``i`` belongs to caption ``owner[i]``.
    A plain CLIP loss would push equal captions of a batch apart; here an image has one caption, and a
    caption has all its images as positives.
    """
    logits = scale * images @ captions.T
    towards_caption = functional.cross_entropy(logits, owner)
    positive = functional.one_hot(owner, len(captions)).T.to(logits.dtype)
    towards_image = functional.cross_entropy(logits.T, positive / positive.sum(1, keepdim=True))
    return (towards_caption + towards_image) / 2


def shifted(images: torch.Tensor, reach: int, generator: torch.Generator) -> torch.Tensor:
    """The batch rolled by up to ``reach`` pixels each way."""
    rows, columns = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
    return images.roll((rows, columns), (2, 3))


class Pretraining(lightning.LightningModule):
    """CLIP training on drawings whose captions repeat."""

    def __init__(self, steps: int, learning_rate: float, warmup: int, seed: int) -> None:
        super().__init__()
        self.tokenizer = TinyTokenizer.covering(texts(), CONTEXT_LENGTH)
        self.config = model_config(self.tokenizer.vocab_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.clip = build(self.config)
        self.steps, self.learning_rate, self.warmup = steps, learning_rate, warmup
        self.generator = torch.Generator().manual_seed(seed)
        captions = [concept.captions for concept in concepts()]
        self.captions_each = len(captions[0])
        self.tokens = self.tokenizer([text for group in captions for text in group])

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """Loss of one batch of uint8 images (N, 3, 32, 32) and the indices of their concepts (N,)."""
        pixels, shown = batch
        images = normalise(shifted(pixels, 3, self.generator))
        present, owner = torch.unique(shown, return_inverse=True)
        choice = torch.randint(self.captions_each, present.shape, generator=self.generator)
        captions = self.clip.encode_text(self.tokens[present * self.captions_each + choice], normalize=True)
        embedded = self.clip.encode_image(images, normalize=True)
        loss = caption_loss(embedded, captions, owner, self.clip.logit_scale.exp())
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_train_batch_end(self, *_: object) -> None:
        """Keep the logit scale in bounds, as CLIP does, and log now and then."""
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        if self.global_step % 250 == 0:
            logger.info(
                "step %d of %d: loss %.3f",
                self.global_step,
                self.steps,
                self.trainer.callback_metrics["loss"],
            )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW that decays matrices only, with warm-up and a cosine."""
        matrices = [p for p in self.clip.parameters() if p.ndim >= 2]
        others = [p for p in self.clip.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, self.learning_rate, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, H, W) to float32 with the model's mean and deviation."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels.float() / 255 - mean) / std


def batches(images: torch.Tensor, shown: torch.Tensor, size: int, seed: int) -> DataLoader[Any]:
    """Shuffled batches, each gathered with one indexing of the tensors."""
    order = RandomSampler(range(len(shown)), generator=torch.Generator().manual_seed(seed))
    return DataLoader(
        TensorDataset(images, shown), sampler=BatchSampler(order, size, drop_last=True), batch_size=None
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; the defaults made the shipped weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=SHIPPED, help="file to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of drawings, initial weights and batches")
    parser.add_argument("--drawings", type=int, default=300_000, help="number of drawings")
    parser.add_argument("--steps", type=int, default=12_000, help="optimiser steps")
    parser.add_argument("--batch", type=int, default=128, help="images per step")
    parser.add_argument("--learning-rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=500, help="steps of linear warm-up")
    parser.add_argument("--threads", type=int, default=1, help="threads of the training")
    parser.add_argument("--processes", type=int, default=2, help="processes that draw")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Draw, train, write the weights."""
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    images, shown = draw_all(options.drawings, options.seed, options.processes)
    logger.info("%d drawings in %.0f s", len(shown), time.monotonic() - started)
    module = Pretraining(options.steps, options.learning_rate, options.warmup, options.seed)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=options.steps,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, batches(images, shown, options.batch, options.seed))
    names = ("seed", "drawings", "steps", "batch", "learning_rate", "warmup", "threads")
    record = {"mini_version": MINI_VERSION, **{name: getattr(options, name) for name in names}}
    save(options.out, module.clip, module.tokenizer, module.config, record)
    logger.info("wrote %s after %.0f s", options.out, time.monotonic() - started)


if __name__ == "__main__":
    main()

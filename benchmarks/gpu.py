"""Speed of fine-tuning, of the α search and of the Gram matrix, against a bare loop in the same run.

    python benchmarks/gpu.py                             the paper's three models on a GPU, under 8 minutes
    python benchmarks/gpu.py --models tiny --steps 40    the tiny model on a CPU, for the ratio alone

Needs nothing but the package: random weights, random uint8 images. Fine-tuning runs through our own data
module, module and trainer, and through a bare PyTorch loop with the same mathematics on the same batches; the
ratio is bare over ours, so that 1 is no overhead. Model FLOPs are three forward passes, counted by PyTorch;
utilisation is against the peak of the device for dense bf16 products, where it is known. Writes one table and
benchmarks/results/gpu.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from taskbasis.data.pixels import PixelBatches, Pixels
from taskbasis.data.suite import WHOLE
from taskbasis.evaluation.module import AlphaScorer
from taskbasis.models.clip import ImageEncoder, image_encoder
from taskbasis.models.open_clip_model import OpenClipModel
from taskbasis.models.tiny_clip import TinyClip
from taskbasis.store.store import versions
from taskbasis.trainer import quiet_trainer
from taskbasis.training.data import FinetuneData, TrainingSteps
from taskbasis.training.module import FineTuner
from taskbasis.training.recipe import Recipe, cosine_with_warmup
from taskbasis.vectors import VectorSet

MODELS = ("ViT-B-32", "ViT-B-16", "ViT-L-14")
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16 FLOP/s by part of the device's name."""
CLASSES = 100


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    models: tuple[str, ...]
    device: str
    batch: int
    steps: int
    search_images: int
    gram_tasks: int
    repeats: int

    @property
    def precision(self) -> str:
        """Lightning's name."""
        return "bf16-mixed" if self.device == "cuda" else "32-true"


@dataclass(frozen=True)
class RandomImages:
    """Images in memory without augmentation: what is left is the loop."""

    pixels: Pixels

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def in_memory(self) -> bool:
        """No decoding."""
        return True

    def batch(
        self, indices: Tensor, generator: torch.Generator, part: slice = WHOLE
    ) -> tuple[Tensor, Tensor]:
        """The images of a batch."""
        return self.pixels.images[indices[part]], self.pixels.labels[indices[part]]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--search-images", type=int, default=256, help="per task (%(default)s)")
    parser.add_argument("--gram-tasks", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    setting = Setting(
        *(tuple(given.models), device, given.batch, given.steps),
        *(given.search_images, given.gram_tasks, given.repeats),
    )
    if device == "cpu":
        torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    result: dict[str, Any] = {"device": name, "versions": versions(), "setting": vars(setting), "models": {}}
    for model in setting.models:
        result["models"][model] = measure(setting, model, name, compiled=given.compile)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    Console().print(table(result))


def measure(setting: Setting, model: str, device_name: str, *, compiled: bool) -> dict[str, Any]:
    """All numbers of one model."""
    images = random_images(setting, model, 4 * setting.batch)
    flops = flops_per_image(build(model))
    peak = next((value for part, value in PEAKS.items() if part in device_name), None)
    rates: dict[str, list[float]] = {}
    for _ in range(setting.repeats):
        # Interleaved, so that both meet the same state of the machine.
        for kind, run in fine_tuning(setting, model, images, compiled=compiled).items():
            rates.setdefault(kind, []).append(run())
    best = {kind: max(values) for kind, values in rates.items()}
    return {
        "images_per_second": {kind: round(rate, 1) for kind, rate in best.items()},
        "bare_over_ours": round(statistics.median(ratios(rates["bare"], rates["ours"])), 3),
        "gflops_per_training_image": round(3 * flops / 1e9, 2),
        "utilisation": {k: None if peak is None else round(3 * flops * r / peak, 3) for k, r in best.items()},
        "search": {T: search(setting, model, images, T) for T in (8, 14, 20)},
        "gram_seconds": gram(setting, model),
    }


def fine_tuning(
    setting: Setting, model: str, images: RandomImages, *, compiled: bool
) -> dict[str, Callable[[], float]]:
    """What is compared, by name: each gives images per second."""
    kinds = {"ours": lambda: ours(setting, model, images), "bare": lambda: bare(setting, model, images)}
    if compiled and setting.device == "cuda":
        kinds["ours compiled"] = lambda: ours(setting, model, images, compiled=True)
    return kinds


def ours(setting: Setting, model: str, images: RandomImages, *, compiled: bool = False) -> float:
    """Images per second of our data module, module and trainer, the first third of the steps left out."""
    encoder = build(model).train()
    if compiled:
        encoder.visual.compile()
    module = FineTuner(encoder, head_of(encoder), recipe(setting), steps=setting.steps, task="benchmark")
    clock = Clock(setting)
    trainer = quiet_trainer(
        accelerator="gpu" if setting.device == "cuda" else "cpu",
        precision=setting.precision,
        max_steps=setting.steps,
        gradient_clip_val=1.0,
        callbacks=[clock],
    )
    trainer.fit(module, FinetuneData(steps(setting, images)))
    return clock.images_per_second


def bare(setting: Setting, model: str, images: RandomImages) -> float:
    """The same mathematics and batches without any framework."""
    encoder = build(model).train().to(setting.device)
    head = head_of(encoder).to(setting.device)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-5, weight_decay=0.1)
    warmup = recipe(setting).warmup_steps(setting.steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: cosine_with_warmup(step, warmup, setting.steps)
    )
    loader: DataLoader[Any] = DataLoader(
        steps(setting, images), batch_size=None, pin_memory=setting.device == "cuda"
    )
    clock = Clock(setting)
    for inputs, labels, _ in loader:
        half = (
            torch.autocast("cuda", torch.bfloat16) if setting.device == "cuda" else contextlib.nullcontext()
        )
        with half:
            logits = encoder(inputs.to(setting.device, non_blocking=True)) @ head.T
            loss = nn.functional.cross_entropy(logits, labels.to(setting.device, non_blocking=True))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        float(loss.detach())
        clock.tick()
    return clock.images_per_second


class Clock(Callback):
    """Times steps after the first third."""

    def __init__(self, setting: Setting) -> None:
        self._setting, self._done, self._skipped = setting, 0, max(1, setting.steps // 3)
        self._start = self._end = 0.0

    def tick(self) -> None:
        """A step is over."""
        self._done += 1
        if self._done in (self._skipped, self._setting.steps):
            if self._setting.device == "cuda":
                torch.cuda.synchronize()
            self._start, self._end = self._start or time.perf_counter(), time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """See :meth:`tick`."""
        self.tick()

    @property
    def images_per_second(self) -> float:
        """Images per second of the timed steps."""
        return (self._done - self._skipped) * self._setting.batch / (self._end - self._start)


def search(setting: Setting, model: str, images: RandomImages, T: int) -> dict[str, float]:
    """Seconds to score 21 α on ``search_images`` of each of T tasks, and images per second."""
    encoder = build(model).eval()
    theta0 = encoder.state_dict()
    vector = {name: 1e-3 * torch.randn_like(tensor) for name, tensor in theta0.items()}
    theta0 = {name: tensor.clone() for name, tensor in theta0.items()}
    count = min(setting.search_images, len(images))
    pixels = Pixels(images.pixels.images[:count], images.pixels.labels[:count])
    alphas = tuple(i / 20 for i in range(21))
    start = time.perf_counter()
    for _ in range(T):
        module = AlphaScorer(encoder, head_of(encoder).cpu(), theta0, vector, alphas)
        loaders = [DataLoader(PixelBatches(pixels, setting.batch), batch_size=None) for _ in alphas]
        trainer = quiet_trainer(
            accelerator="gpu" if setting.device == "cuda" else "cpu", precision=setting.precision
        )
        trainer.validate(module, loaders, verbose=False)
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 2), "images_per_second": round(T * 21 * count / seconds, 1)}


def gram(setting: Setting, model: str) -> dict[str, float]:
    """Seconds to stream the Gram matrix of random checkpoints from files, on the processor and the device."""
    state = build(model).state_dict()
    with tempfile.TemporaryDirectory() as folder:
        names = [f"t{i}" for i in range(setting.gram_tasks)]
        for name in ["theta0", *names]:
            noisy = {k: v + 1e-3 * torch.randn_like(v) for k, v in state.items()}
            save_file(noisy, Path(folder) / f"{name}.safetensors")
        files = {name: Path(folder) / f"{name}.safetensors" for name in names}
        vectors = VectorSet.task_vectors(Path(folder) / "theta0.safetensors", files)
        found = {}
        for device in dict.fromkeys(("cpu", setting.device)):
            vectors.gram(device=device)
            start = time.perf_counter()
            vectors.gram(device=device)
            found[device] = round(time.perf_counter() - start, 2)
    return found


def build(model: str) -> ImageEncoder:
    """An image encoder with random weights."""
    if model == "tiny":
        return image_encoder(TinyClip())
    return image_encoder(OpenClipModel(model, weights=None))


def random_images(setting: Setting, model: str, count: int) -> RandomImages:
    """Random uint8 images of the size of a model."""
    side = 32 if model == "tiny" else OpenClipModel(model).preprocess().image_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return RandomImages(Pixels(pixels, torch.arange(count) % CLASSES))


def steps(setting: Setting, images: RandomImages) -> TrainingSteps:
    """The batches of a run."""
    return TrainingSteps(images, batch_size=setting.batch, steps=setting.steps, seed=0)


def recipe(setting: Setting) -> Recipe:
    """The literature's settings."""
    return Recipe(
        lr=1e-5,
        weight_decay=0.1,
        batch_size=setting.batch,
        epochs=None,
        max_steps=setting.steps,
        warmup=500,
        grad_clip=1.0,
    )


def head_of(encoder: ImageEncoder) -> Tensor:
    """A random head."""
    width = int(encoder.visual.output_dim)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    return 100 * nn.functional.normalize(torch.randn(CLASSES, width, generator=generator), dim=-1)


def flops_per_image(encoder: ImageEncoder) -> float:
    """Floating-point operations of one forward pass of one image."""
    side = int(getattr(encoder.visual, "image_size", (32, 32))[0])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder.eval()(torch.zeros(1, 3, side, side, dtype=torch.uint8))
    return float(counter.get_total_flops())


def ratios(numerator: list[float], denominator: list[float]) -> list[float]:
    """Elementwise quotients."""
    return [a / b for a, b in zip(numerator, denominator, strict=True)]


def table(result: Mapping[str, Any]) -> Table:
    """One row per model."""
    shown = Table(
        title=f"{result['device']}, {result['setting']['steps']} steps of {result['setting']['batch']}"
    )
    for column in (
        "model",
        "ours",
        "compiled",
        "bare",
        "bare/ours",
        "utilisation",
        "α search 8/14/20",
        "Gram",
    ):
        shown.add_column(column)
    for model, numbers in result["models"].items():
        rate, used = numbers["images_per_second"], numbers["utilisation"]["ours"]
        shown.add_row(
            model,
            f"{rate['ours']:.0f} img/s",
            f"{rate.get('ours compiled', math.nan):.0f}",
            f"{rate['bare']:.0f}",
            f"{numbers['bare_over_ours']:.2f}",
            "–" if used is None else f"{100 * used:.0f} %",
            " / ".join(f"{numbers['search'][T]['seconds']:.1f} s" for T in (8, 14, 20)),
            ", ".join(f"{device} {seconds:.1f} s" for device, seconds in numbers["gram_seconds"].items()),
        )
    return shown


if __name__ == "__main__":
    main()

"""The file of weights: safetensors in half precision, with the model's configuration in its metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from open_clip import CLIP
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from taskbasis.errors import ModelError
from taskbasis.models.tiny.tokenizer import TinyTokenizer

IMAGE_SIZE = 32
MEAN = (0.45, 0.45, 0.45)
STD = (0.28, 0.28, 0.28)
SHIPPED = Path(__file__).with_name("weights.safetensors")


def build(config: dict[str, Any]) -> CLIP:
    """A freshly initialised CLIP; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return CLIP(**config)


def save(
    path: Path, model: CLIP, tokenizer: TinyTokenizer, config: dict[str, Any], record: dict[str, Any]
) -> None:
    """Write weights, configuration, word pieces and a record of the pre-training."""
    tensors = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"config": config, "pieces": tokenizer.pieces, "pretraining": record}
    save_file(tensors, path, {key: json.dumps(value) for key, value in metadata.items()})


def load_tiny(weights: Path | None = None) -> tuple[CLIP, TinyTokenizer]:
    """The shipped tiny CLIP, or the one in ``weights``, with its tokenizer.

    Returns:
        The model in float32 and evaluation mode, and a tokenizer from text to int64 (N, context_length),
        as ``open_clip.build_zero_shot_classifier`` wants it.

    Raises:
        ModelError: the file is missing, damaged, or not weights of a tiny CLIP.
    """
    path = SHIPPED if weights is None else Path(weights)
    metadata, tensors = _read(path)
    try:
        config, pieces = json.loads(metadata["config"]), json.loads(metadata["pieces"])
        tokenizer = TinyTokenizer(pieces, config["text_cfg"]["context_length"])
        model = build(config)
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path.name} does not hold the weights of a tiny CLIP: {reason}") from error
    return model.eval(), tokenizer


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Metadata and tensors of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(f"no weights at {path}") from error
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path.name} is damaged and cannot be read as safetensors: {error}") from error

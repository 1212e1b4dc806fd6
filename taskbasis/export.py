"""``python -m taskbasis.export WEIGHTS OUT``: a merged image encoder for open_clip or transformers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from taskbasis.command import parse_with_settings, run_plain
from taskbasis.config import compose
from taskbasis.data.preprocess import Preprocess
from taskbasis.errors import ConfigError, TaskbasisError
from taskbasis.importers import check_layout, import_checkpoint, selected, shapes, to_hf
from taskbasis.models.clip import PREFIX, ClipModel, LoadedClip
from taskbasis.store import file_sha256, write_json, write_text
from taskbasis.store.atomic import new_folder
from taskbasis.targets import instantiate
from taskbasis.vectors.files import find_weights
from taskbasis.vectors.layout import Selection

EPILOG = """examples:
  python -m taskbasis.export merged.safetensors exported/open_clip --model vit_b_32
  python -m taskbasis.export merged.safetensors exported/hf --model vit_b_32 --to hf

Words with = are settings of the model, as for python -m taskbasis.run (conf/model/).
"""


@dataclass(frozen=True)
class Export:
    """An image encoder and the CLIP model that it belongs to."""

    clip: ClipModel
    loaded: LoadedClip
    tensors: Mapping[str, Tensor]
    """The image encoder, ``visual.*``."""
    origin: str
    """Name and sha256 of the file of weights, for the card."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m taskbasis.export",
        description="Write an image encoder as a model folder that others load.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", metavar="WEIGHTS", type=Path, help="safetensors with visual.*")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to make")
    parser.add_argument("--model", default="vit_b_32", help="the model it was made from (%(default)s)")
    parser.add_argument("--to", choices=list(_FORMATS), default="open_clip", help="(%(default)s)")
    options, overrides = parse_with_settings(parser, arguments)
    clip: ClipModel = instantiate(compose([f"model={options.model}", *overrides]).config.model)
    export(options.weights, options.out, clip, options.to)
    Console().print(f"exported: {options.out}")
    return 0


def export(weights: Path, out: Path, clip: ClipModel, kind: str) -> None:
    """Write a model folder: ``open_clip`` (image and text) or ``hf`` (the vision tower with its projection).

    Raises:
        ConfigError: if ``out`` is there already.
        TaskbasisError: if the weights cannot be read or are of another architecture or activation.
    """
    if out.exists():
        raise ConfigError(f"{out} exists; choose another folder")
    checkpoint = selected(import_checkpoint(weights), Selection.parse(PREFIX))
    checkpoint.check_activation(weights, clip.name, clip.quick_gelu)
    loaded = clip.load()
    tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items()}
    tower = {name: tensor for name, tensor in loaded.model.state_dict().items() if name.startswith(PREFIX)}
    check_layout(weights, shapes(tensors), shapes(tower))
    origin = f"{weights.name}, sha256 {file_sha256(find_weights(weights))}"
    with new_folder(out) as folder:
        _FORMATS[kind](Export(clip, loaded, tensors, origin), folder)


def _open_clip(made: Export, folder: Path) -> None:
    state = made.loaded.model.state_dict() | dict(made.tensors)
    facts = {"format": "pt", "quick_gelu": str(made.clip.quick_gelu).lower()}
    whole = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(whole, folder / "open_clip_model.safetensors", metadata=facts)
    look = made.clip.preprocess()
    described = {key: getattr(look, key) for key in ("mean", "std", "interpolation", "resize_mode")}
    config = dict(_architecture(made.clip)) | {"quick_gelu": made.clip.quick_gelu}
    write_json(folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": described})
    _card(made, folder, "open_clip.create_model_and_transforms('local-dir:{folder}')")


def _hf(made: Export, folder: Path) -> None:
    tower = to_hf(made.tensors).tensors
    weights = {name: tensor.contiguous() for name, tensor in tower.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", _hf_config(made))
    write_json(folder / "preprocessor_config.json", _hf_preprocessor(made.clip.preprocess()))
    _card(made, folder, "transformers.CLIPVisionModelWithProjection.from_pretrained('{folder}')")


_FORMATS = {"open_clip": _open_clip, "hf": _hf}


def _architecture(clip: ClipModel) -> Mapping[str, Any]:
    """What open_clip knows of a model.

    Raises:
        TaskbasisError: if the model is none of open_clip's.
    """
    if clip.name.startswith("local-dir:"):
        path = Path(clip.name.removeprefix("local-dir:")) / "open_clip_config.json"
        config: Mapping[str, Any] = json.loads(path.read_text())["model_cfg"]
        return config
    if (known := open_clip.get_model_config(clip.name)) is None:
        raise TaskbasisError(f"{clip.name} is no model of open_clip; it can be exported with --to hf")
    return dict(known)


def _hf_config(made: Export) -> dict[str, Any]:
    """The configuration of ``transformers.CLIPVisionModelWithProjection`` for these tensors."""
    tensors, visual = made.tensors, made.loaded.model.visual
    blocks = visual.transformer.resblocks
    return {
        "architectures": ["CLIPVisionModelWithProjection"],
        "model_type": "clip_vision_model",
        "hidden_size": tensors["visual.class_embedding"].shape[0],
        "intermediate_size": tensors["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": len(blocks),
        "num_attention_heads": blocks[0].attn.num_heads,
        "patch_size": tensors["visual.conv1.weight"].shape[-1],
        "image_size": made.clip.preprocess().image_size,
        "projection_dim": tensors["visual.proj"].shape[1],
        "hidden_act": "quick_gelu" if made.clip.quick_gelu else "gelu",
        "layer_norm_eps": visual.ln_post.eps,
    }


def _hf_preprocessor(look: Preprocess) -> dict[str, Any]:
    side = look.image_size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
        "image_mean": list(look.mean),
        "image_std": list(look.std),
        "resample": 3 if look.interpolation == "bicubic" else 2,
        **dict.fromkeys(
            ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"), True
        ),
    }


def _card(made: Export, folder: Path, use: str) -> None:
    gelu = "QuickGELU" if made.clip.quick_gelu else "GELU"
    text = f"""# A merged image encoder

| | |
|---|---|
| made from | {made.clip.name.split("/")[-1]} |
| weights | {made.origin} |
| activation | {gelu}: with the other one its results are wrong without a message |
| image size | {made.clip.preprocess().image_size} |

Load it from this folder with `{use}`. Only the image side was merged; classify with the text side of the
model it was made from.
"""
    write_text(folder / "README.md", text)


if __name__ == "__main__":
    run_plain(main)

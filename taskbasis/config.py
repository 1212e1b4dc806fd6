"""The configuration: how it is composed and checked, and what follows from it.

Nothing here imports torch: ``--help`` and ``--cfg job`` answer at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from taskbasis.errors import ConfigError
from taskbasis.schema import RunConfig
from taskbasis.store.hashing import digest

ENTRY = "run"
NOT_SEMANTIC = (
    "paths",
    "tracker",
    "verbosity",
    "force",
    "on_error",
    "objective",
    "suite.root",
    "trainer.workers",
    "trainer.accelerator",
    "trainer.loader_workers",
    "trainer.save_every",
)
"""Keys that change where and how a run is carried out, never its result."""
OPTIONAL = (
    "joblib, submitit_slurm, submitit_local and optuna are in taskbasis[sweep], ray is in taskbasis[ray]"
)
"""Where launchers and sweepers come from that are not installed."""


@dataclass(frozen=True)
class Composed:
    """A configuration with the choices and overrides that made it."""

    config: DictConfig
    choices: Mapping[str, str]
    """Chosen option of each group."""
    overrides: tuple[str, ...]

    @property
    def semantic(self) -> dict[str, Any]:
        """The resolved configuration without what cannot change a result."""
        plain = OmegaConf.to_container(self.config, resolve=True)
        assert isinstance(plain, dict)
        for key in NOT_SEMANTIC:
            *parents, last = key.split(".")
            node = plain
            for parent in parents:
                node = node[parent]
            node.pop(last, None)
        return {str(k): v for k, v in plain.items()}

    @property
    def semantic_overrides(self) -> list[str]:
        """The overrides without what cannot change a result."""
        return semantic_overrides(self.overrides)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the semantic configuration: equal for runs with equal results."""
        return digest(self.semantic)

    @property
    def slug(self) -> str:
        """Readable name: model, suite and number of tasks, basis, M, seeds."""
        c = self.config
        atoms = "" if c.M is None else f"-M{c.M}"
        parts = [
            self.choices["model"],
            f"{self.choices['suite']}{number_of_tasks(c)}",
            self.choices["basis"] + atoms,
            f"s{c.seed}f{c.finetune.seed}",
        ]
        return "-".join(parts) + ("-smoke" if c.smoke else "")

    @property
    def run_name(self) -> str:
        """Name of the run's folder: slug and fingerprint."""
        return f"{self.slug}-{self.fingerprint[:8]}"


def semantic_overrides(overrides: Sequence[str]) -> list[str]:
    """Those overrides that can change a result."""
    names = tuple(f"{key}{end}" for key in NOT_SEMANTIC for end in ("=", "."))
    return [o for o in overrides if not o.lstrip("+~").startswith(names)]


def config_dir() -> Path:
    """The folder of configuration files: in the installed package, else in the repository."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if folder.is_dir():
            return folder
    raise ConfigError(f"no configuration folder in {package} or {package.parent}; reinstall taskbasis")


def register_schema(name: str = "schema", node: type = RunConfig) -> None:
    """Make a typed schema known to Hydra, which then refuses unknown keys and wrong types."""
    ConfigStore.instance().store(name=name, node=node)


def compose(overrides: Sequence[str] = ()) -> Composed:
    """Compose a configuration as the command does.

    Args:
        overrides: as on the command line, such as ``["basis=ae", "M=4", "scenario=14"]``.

    Raises:
        ConfigError: for an unknown group, option, key or type, naming what is accepted.
    """
    register_schema()
    config = compose_entry(ENTRY, overrides)
    choices, used = config.hydra.runtime.choices, config.hydra.overrides.task
    return composed(config, dict(choices), list(used))


def compose_entry(entry: str, overrides: Sequence[str]) -> DictConfig:
    """Compose the configuration of a command, Hydra's own part included.

    Raises:
        ConfigError: as :func:`compose`.
    """
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return hydra_compose(entry, quote_numbers(overrides), return_hydra_config=True)
    except Exception as error:
        if is_hydra_error(error):
            raise ConfigError(explain(error)) from error
        raise


def composed(config: DictConfig, choices: Mapping[str, str], overrides: Sequence[str]) -> Composed:
    """Check a configuration, without Hydra's own part, and fill in what follows from it.

    Raises:
        ConfigError: for an unknown key, or an M that is not understood.
    """
    plain = checked(config, RunConfig)
    if plain.smoke:
        shrink(plain)
    plain.M = resolve_M(plain.M, number_of_tasks(plain)) if "M" in plain.basis else None
    return Composed(plain, {k: str(v) for k, v in choices.items()}, tuple(overrides))


def checked(config: DictConfig, schema: type | Collection[str]) -> DictConfig:
    """A configuration without Hydra's own part.

    Raises:
        ConfigError: for a key that the schema does not have, or one that has to be given.
    """
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    check_keys(plain, schema)
    if missing := sorted(OmegaConf.missing_keys(plain)):
        raise ConfigError(f"{', '.join(missing)}: needed as {missing[0]}=…; --help shows examples")
    return plain


def check_keys(node: DictConfig, schema: type | Collection[str], prefix: str = "") -> None:
    """Refuse keys that the schema does not have: Hydra lets ``+key=value`` through.

    Raises:
        ConfigError: naming the key and what is accepted beside it.
    """
    known = [f.name for f in fields(schema)] if isinstance(schema, type) else list(schema)
    for key in node:
        if key not in known:
            raise ConfigError(
                f"unknown key {prefix}{key!s}; accepted: {', '.join(prefix + k for k in known)}"
            )
        if is_dataclass(kind := OmegaConf.get_type(node, key)):
            check_keys(node[key], kind, f"{prefix}{key}.")


def number_of_tasks(config: DictConfig) -> int:
    """T: the length of ``tasks`` or else the size of the scenario."""
    return len(config.tasks) if config.tasks is not None else int(config.scenario.size)


def shrink(config: DictConfig) -> None:
    """The smoke form of a run: the same path with at most 2 tasks, their share of M, and 20 steps."""
    T = number_of_tasks(config)
    if config.tasks is not None:
        config.tasks = config.tasks[:2]
    config.scenario.size = min(2, config.scenario.size)
    config.finetune.max_steps = min(20, config.finetune.max_steps or 20)
    if isinstance(config.M, int):
        # An M that is possible for all tasks is then possible for two, and one that is not stays so.
        config.M = min(config.M, max(1, config.M * number_of_tasks(config) // max(1, T)))


def quote_numbers(arguments: Sequence[str]) -> list[str]:
    """Quote the numeric options of ``scenario``, which Hydra would otherwise take for integers.

    >>> quote_numbers(["-m", "scenario=8,14", "M=4"])
    ['-m', "scenario='8','14'", 'M=4']
    """
    return [re.sub(r"^\+{0,2}scenario=.*", _quote_options, argument) for argument in arguments]


def resolve_M(M: Any, T: int) -> int:
    """The number of atoms that ``M`` stands for: an integer, a share such as ``T/4``, or None for T//2.

    Raises:
        ConfigError: for anything else.
    """
    if M is None:
        return max(1, T // 2)
    if isinstance(M, int) and not isinstance(M, bool):
        return M
    if match := re.fullmatch(r"T(?:\s*/\s*([1-9]\d*))?", str(M)):
        return max(1, T // int(match[1] or 1))
    raise ConfigError(f"M={M!r} is not understood; accepted: an integer, null (T//2) or a share such as T/4")


def explain(error: BaseException) -> str:
    """The message of an error of Hydra or OmegaConf with its cause, without empty lines."""
    messages: list[str] = []
    link: BaseException | None = error
    while link is not None:
        if (text := str(link).strip()) and not any(text in known for known in messages):
            messages.append(text)
        link = link.__cause__
    text = "\n".join(messages).split("Config search path:")[0]
    text = re.sub(r"\nTo append to your config.*", "", text)
    text = re.sub(r"\n\s*(full_key|object_type|reference_type): ?\S+|\n\s*object_type=\S+", "", text)
    if re.search(r"Could not find 'hydra/(launcher|sweeper)/", text):
        text += f"\n{OPTIONAL}"
    text = re.sub(r"(?<=:)((?:\n\t\S+)+)", lambda options: " " + ", ".join(options[1].split()), text)
    return "; ".join(line.strip().rstrip(".") for line in text.splitlines() if line.strip())


def is_hydra_error(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf refused the configuration."""
    return type(error).__module__.split(".")[0] in ("hydra", "omegaconf")


def _quote_options(match: re.Match[str]) -> str:
    key, _, options = match[0].partition("=")
    return f"{key}=" + ",".join(f"'{o.strip()}'" if o.strip().isdigit() else o for o in options.split(","))

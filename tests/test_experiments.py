"""Every experiment of the mini suite is carried out in its smoke form."""

import importlib.util

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from taskbasis.config import config_dir
from taskbasis.sweeps.objective import objective_value
from taskbasis.sweeps.search import first_choice

FOLDER = config_dir() / "experiment"
MINI = sorted(path.stem for path in FOLDER.glob("mini_*.yaml"))
SEARCHES = {name for name in MINI if "/hydra/sweeper: optuna" in (FOLDER / f"{name}.yaml").read_text()}


def jobs(name):
    """The jobs of an experiment with every basis; of other keys the last value, of a search the first."""
    params = OmegaConf.select(OmegaConf.load(FOLDER / f"{name}.yaml"), "hydra.sweeper.params") or {}
    overrides = OverridesParser.create().parse_overrides([f"{k}={v}" for k, v in params.items()])
    if name in SEARCHES:
        return [first_choice(overrides)]
    values = {
        o.get_key_element(): list(o.sweep_string_iterator()) if o.is_sweep_override() else [o.value()]
        for o in overrides
    }
    last = [f"{key}={each[-1]}" for key, each in values.items() if key != "basis"]
    return [[*last, f"basis={basis}"] for basis in values["basis"]] if "basis" in values else [last]


@pytest.mark.parametrize("name", MINI)
def test_every_mini_experiment_runs(name, run_small, tmp_path):
    if name in SEARCHES and importlib.util.find_spec("optuna") is None:
        pytest.skip("its sweeper is an optional extra")
    results = [run_small(f"+experiment={name}", *job, runs=tmp_path) for job in jobs(name)]
    assert [result["run"]["status"] for result in results] == ["completed"] * len(results)
    assert len({result["run"]["id"] for result in results}) == len(results)
    protocols = {protocol for result in results for protocol in result["protocols"]}
    assert protocols == {"negation" if "negation" in name else "addition"}
    if name in SEARCHES:
        assert objective_value(results[0], "addition/val/normalized_top1") > 0

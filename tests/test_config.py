import importlib.util
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from taskbasis.builders import GROUPS_WITH_TARGETS, target_errors
from taskbasis.config import compose, config_dir, explain, quote_numbers, resolve_M
from taskbasis.errors import ConfigError
from taskbasis.sweeps.objective import check_objective
from taskbasis.sweeps.search import first_choice

GROUPS = sorted(
    p.name for p in config_dir().iterdir() if p.is_dir() and p.name not in ("experiment", "local")
)
OPTIONS = [(g, p.stem) for g in GROUPS for p in sorted((config_dir() / g).glob("*.yaml"))]
OF_WANDB = "wandb_sweep"
OF_EXTRAS = [] if importlib.util.find_spec("optuna") else ["mini_search"]
EXPERIMENTS = sorted(
    p.stem for p in (config_dir() / "experiment").glob("*.yaml") if p.stem not in (OF_WANDB, *OF_EXTRAS)
)


def test_every_option_composes_and_fits_what_it_configures():
    """All errors at once: a wrong YAML file should not hide the next one."""
    errors = []
    for group, option in OPTIONS:
        try:
            job = compose([f"{group}={option}"])
        except ConfigError as error:
            errors.append(f"{group}={option}: {error}")
            continue
        for name in GROUPS_WITH_TARGETS:
            errors += [f"{group}={option}: {e}" for e in target_errors(name, job.config[name])]
    assert errors == []
    assert {g for g, _ in OPTIONS} >= {"model", "suite", "scenario", "basis", "merge", "search", "evaluation"}


def test_every_experiment_composes_and_says_how_to_launch_it():
    assert EXPERIMENTS
    for name in EXPERIMENTS:
        job = compose([f"+experiment={name}"])
        for group in GROUPS_WITH_TARGETS:
            assert target_errors(group, job.config[group]) == []
        header = (config_dir() / "experiment" / f"{name}.yaml").read_text().split("\ndefaults:")[0]
        assert "Needs:" in header, name
        assert f"+experiment={name}" in header, name


def test_every_job_that_a_swept_experiment_asks_for_composes():
    for name in EXPERIMENTS:
        file = OmegaConf.load(config_dir() / "experiment" / f"{name}.yaml")
        for key, values in (OmegaConf.select(file, "hydra.sweeper.params") or {}).items():
            (override,) = OverridesParser.create().parse_overrides([f"{key}={values}"])
            each = override.is_discrete_sweep() and override.sweep_string_iterator()
            for asked in [f"{key}={value}" for value in each] if each else first_choice([override]):
                job = compose([f"+experiment={name}", asked])
                for group in GROUPS_WITH_TARGETS:
                    assert target_errors(group, job.config[group]) == [], (name, asked)


def test_the_sweep_of_wandb_asks_for_what_can_be_run_and_optimises_no_test_score():
    sweep = OmegaConf.to_container(OmegaConf.load(config_dir() / "experiment" / f"{OF_WANDB}.yaml"))
    check_objective(sweep["metric"]["name"])
    for key, choice in sweep["parameters"].items():
        for value in choice.get("values", [choice.get("value")]):
            assert compose([f"{key}={value}"])
    command = sweep["command"]
    assert command[-1] == "${args_no_hyphens}"
    assert compose([argument for argument in command if "=" in argument]).config.force


@pytest.mark.parametrize("form", ["scenario=14", "scenario='14'", 'scenario="14"', "scenario= 14"])
def test_scenarios_named_by_numbers_can_be_written_plainly(form):
    assert compose([form]).config.scenario.size == 14


def test_numbers_are_quoted_in_sweeps_and_nowhere_else():
    arguments = ["-m", "scenario=8,14,20", "M=2,4", "+experiment=x", "finetune.seed=14", "tasks=[a,b]"]
    assert quote_numbers(arguments) == ["-m", "scenario='8','14','20'", *arguments[2:]]
    assert quote_numbers(["scenario=8,foo", "scenario=choice(8,14)"]) == [
        "scenario='8',foo",
        "scenario=choice(8,14)",
    ]


def test_the_default_is_the_main_job_for_eight_tasks():
    job = compose()
    assert (job.config.scenario.size, job.config.M) == (8, 4)
    assert job.choices["basis"] == "ae"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["basis=foo"], r"Could not find 'basis/foo'; Available options in 'basis': .*ae.*none"),
        (["scenario=9"], r"Could not find 'scenario/9'; Available options in 'scenario': 14, 20, 8"),
        (["+experiment=nonsense"], r"Could not find 'experiment/nonsense'"),
        (["foo=1"], r"Could not override 'foo'.*Key 'foo' not in 'RunConfig'"),
        (["+foo=1"], r"unknown key foo; accepted: .*basis"),
        (["+finetune.foo=1"], r"unknown key finetune\.foo; accepted: .*finetune\.lr"),
        (["basis.foo=1"], r"Could not override 'basis.foo'"),
        (["seed=abc"], r"seed=abc; Value 'abc' of type 'str' could not be converted to Integer"),
        (
            ["M=many"],
            r"M='many' is not understood; accepted: an integer, null \(T//2\) or a share such as T/4",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_in_one_line(overrides, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        compose(overrides)
    assert "\n" not in str(refusal.value)


def test_unknown_arguments_of_a_group_are_refused_with_what_is_accepted():
    node = compose(["+basis.foo=1"]).config.basis
    assert target_errors("basis", node) == [
        "basis.foo: unknown; accepted: M, seed, tau, encoder, decoder, solver, "
        "iterations, restarts, tolerance, steps, lr, weight_decay, grad_clip, batch_cols, "
        "anneal_every, anneal_factor"
    ]
    assert target_errors("basis", OmegaConf.create({"_target_": "taskbasis.basis.Autoencoder"})) == [
        "basis.M is missing"
    ]
    (error,) = target_errors("basis", OmegaConf.create({"_target_": "taskbasis.basis.Nonsense"}))
    assert "taskbasis.basis.Nonsense" in error


@pytest.mark.parametrize(
    ("M", "T", "expected"),
    [(None, 8, 4), (None, 1, 1), (3, 8, 3), ("T", 8, 8), ("T/4", 14, 3), ("T/4", 3, 1), ("T / 2", 9, 4)],
)
def test_number_of_atoms(M, T, expected):
    assert resolve_M(M, T) == expected


@pytest.mark.parametrize("M", ["T/0", "half", 2.5, True, "T*2"])
def test_number_of_atoms_refusals(M):
    with pytest.raises(ConfigError, match="is not understood"):
        resolve_M(M, 8)


def test_seed_sets_the_basis_and_not_the_fine_tuning():
    config = compose(["seed=3"]).config
    assert (config.basis.seed, config.finetune.seed) == (3, 0)


def test_none_ignores_M():
    assert compose(["basis=none", "M=3"]).fingerprint == compose(["basis=none"]).fingerprint


@pytest.mark.parametrize("form", ["+smoke=true", "smoke=true"])
def test_smoke_keeps_the_path_and_shrinks_the_work(form):
    config = compose(["scenario=14", "M=4", form]).config
    assert (config.scenario.size, config.M, config.finetune.max_steps) == (2, 1, 20)
    shares = {M: compose(["scenario=8", f"M={M}", form]).config.M for M in (0, 1, 4, 7, 8, 12, "T", "T/4")}
    assert shares == {0: 0, 1: 1, 4: 1, 7: 1, 8: 2, 12: 3, "T": 2, "T/4": 1}


def test_where_and_how_a_run_is_carried_out_is_not_part_of_its_identity():
    plain = compose()
    for override in ("paths.root=x", "tracker=none", "trainer.workers=3", "trainer=cpu", "verbosity=quiet"):
        assert compose([override]).fingerprint == plain.fingerprint, override
    for override in ("trainer.threads=2", "trainer.precision=bf16-mixed", "search.points=3", "seed=1", "M=2"):
        assert compose([override]).fingerprint != plain.fingerprint, override


def test_overrides_in_results_leave_out_where_and_how():
    job = compose(["basis=none", "paths.root=x", "tracker=none", "trainer.workers=2"])
    assert job.semantic_overrides == ["basis=none"]


def test_causes_are_part_of_the_explanation():
    error = RuntimeError("what happened\n\nfull_key: x.y")
    error.__cause__ = ValueError("the cause")
    assert explain(error) == "what happened; the cause"


def test_composing_imports_no_torch(command, tmp_path):
    code = "import sys, taskbasis.config as c; c.compose(); sys.exit('torch' in sys.modules)"
    import subprocess

    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.devices=200", r"trainer.devices=200: must be between 1 and \d+, the processors"),
        ("trainer.workers=0", r"trainer.workers=0: must be 1 or more, or null for all processors"),
        ("trainer.precision=bf17", r"trainer.precision='bf17': accepted are 32-true, bf16-mixed"),
        (
            "finetune.epochs=often",
            r"finetune.epochs='often': accepted are null, a number, or a number by task",
        ),
        *(
            (
                f"scenario.size={size}",
                rf"^scenario.size={size}: must be between 1 and 20, the number of tasks of suite 'mini'$",
            )
            for size in (21, 0, -3)
        ),
    ],
)
def test_values_that_a_run_cannot_use(override, message):
    from taskbasis.builders import build_plan

    with pytest.raises(ConfigError, match=message):
        build_plan(compose(["trainer=cpu", override]))

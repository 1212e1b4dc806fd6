"""Sweeps without processes of their own: journals, objectives, jobs that are skipped, plans."""

import importlib
import json
import pkgutil
import weakref
from datetime import datetime, timedelta, timezone

import pytest
import torch
from hydra.core.utils import JobReturn, JobStatus
from rich.console import Console

import taskbasis
from taskbasis.config import compose
from taskbasis.errors import ConfigError, TaskbasisError, TrainingError
from taskbasis.finished import STAGES, finished_result
from taskbasis.job import Place, execute
from taskbasis.store import StageKey
from taskbasis.sweeps.journal import Journal, sweep_name
from taskbasis.sweeps.launch import ShowPlan
from taskbasis.sweeps.member import run_member
from taskbasis.sweeps.objective import OBJECTIVES, check_objective, objective_value
from taskbasis.sweeps.plan import KINDS, plan_sweep, plan_table
from taskbasis.sweeps.summary import concluded, counts, summary_table

SMALL = ["+smoke=true", "tracker=none", "trainer=cpu", "verbosity=quiet"]


@pytest.fixture
def job(small_store, tmp_path):
    """Composes a reduced job with its records in the test's own folder."""

    def composed(*overrides):
        places = [f"paths.store={small_store}", f"paths.runs={tmp_path / 'runs'}", "trainer.workers=1"]
        return compose([*SMALL, *places, *overrides])

    return composed


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "sweeps" / "sweep-1")
    journal.begin(["M=1,2"], 2)
    return journal


class TestSkipping:
    def test_a_finished_job_is_not_run_again_unless_forced(self, job):
        first = execute(job("basis=exact", "M=1"))
        again = execute(job("basis=exact", "M=1"))
        forced = execute(job("basis=exact", "M=1", "force=true"))
        assert (first.skipped, again.skipped, forced.skipped) == (False, True, False)
        assert again.result == first.result
        assert forced.result["run"] != first.result["run"]
        comparable = [{k: v for k, v in done.result.items() if k != "run"} for done in (first, forced)]
        assert comparable[0] == comparable[1]

    def test_equal_jobs_of_a_forced_sweep_run_once(self, job, journal):
        execute(job("basis=exact", "M=1"))
        started = datetime.now(timezone.utc).replace(microsecond=0)
        old = Place("sweep", 0, 2, started + timedelta(hours=1))
        assert not execute(job("basis=exact", "M=1", "force=true"), old).skipped
        assert execute(job("basis=exact", "M=1", "force=true"), Place("sweep", 1, 2, started)).skipped

    @pytest.mark.parametrize(
        ("key", "value"),
        [("status", "failed"), ("fingerprint", "other"), ("code", "other"), ("fingerprint", None)],
    )
    def test_results_of_other_code_or_configuration_do_not_count(self, tmp_path, key, value):
        run = {"status": "completed", "fingerprint": "f", "code": "c", "started": "2025-01-01T00:00:00+00:00"}
        path = tmp_path / "result.json"
        path.write_text(json.dumps({"run": run}))
        assert finished_result(tmp_path, "f", "c") == {"run": run}
        path.write_text(json.dumps({"run": run | {key: value}}))
        assert finished_result(tmp_path, "f", "c") is None

    @pytest.mark.parametrize("content", [None, "", "{", "[]", '{"run": {}}'])
    def test_a_missing_or_damaged_result_does_not_count(self, tmp_path, content):
        if content is not None:
            (tmp_path / "result.json").write_text(content)
        assert finished_result(tmp_path, "f", "c") is None

    def test_every_stage_is_part_of_the_identity_of_the_code(self):
        for module in pkgutil.walk_packages(taskbasis.__path__, "taskbasis."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        ours = {k for k in StageKey.__subclasses__() if k.__module__.startswith("taskbasis.")}
        assert ours == set(STAGES)


class TestObjective:
    @pytest.mark.parametrize("name", ["addition/test/top1", "negation/test/target_top1"])
    def test_scores_on_test_data_are_never_optimised(self, name):
        with pytest.raises(ConfigError, match="never optimised; accepted are addition/val/top1"):
            check_objective(name)

    def test_unknown_objectives_are_refused(self):
        with pytest.raises(ConfigError, match="objective=nonsense: accepted are addition/val/top1"):
            check_objective("nonsense")

    def test_every_objective_is_a_number_of_a_run(self, run_small):
        result = run_small("basis=exact", "M=1", "evaluation=all")
        for name in OBJECTIVES:
            check_objective(name)
            assert isinstance(objective_value(result, name), int | float)
        search = result["protocols"]["addition"]["search"]
        assert objective_value(result, "addition/val/normalized_top1") == search["normalized_top1"]

    def test_what_no_run_would_find_is_refused_beforehand(self):
        check_objective("basis/loss", ["addition"])
        with pytest.raises(
            ConfigError, match=r"negation is not evaluated; evaluation\.protocols are addition"
        ):
            check_objective("negation/val/target_top1", ["addition"])

    def test_a_protocol_that_was_not_evaluated_is_named(self, run_small):
        result = run_small("basis=exact", "M=1")
        with pytest.raises(ConfigError, match="no such number; its protocols are addition"):
            objective_value(result, "negation/val/target_top1")


class TestMembers:
    def test_what_became_of_jobs_is_noted(self, job, journal):
        values = [
            run_member(lambda: job("basis=exact", "M=1"), journal, number, ["M=1"], optimised=number == 1)
            for number in (0, 1)
        ]
        notes = journal.notes()
        assert [note["status"] for note in notes] == ["completed", "skipped"]
        assert values == [None, notes[1]["metrics"]["addition/val/normalized_top1"]]
        assert notes[0]["run"] == job("basis=exact", "M=1").run_name

    @pytest.mark.parametrize(("on_error", "second"), [("continue", "completed"), ("stop", "not started")])
    def test_on_error_says_whether_others_go_on(self, job, journal, on_error, second):
        with pytest.raises(TrainingError):
            run_member(
                lambda: job("finetune.lr=1e30", f"on_error={on_error}"), journal, 0, ["lr"], optimised=False
            )
        run_member(lambda: job("basis=exact", "M=1"), journal, 1, ["M=1"], optimised=False)
        notes = journal.notes()
        assert [note["status"] for note in notes] == ["failed", second]
        assert notes[0]["error"].startswith("TrainingError: fine-tuning '")

    def test_a_job_that_cannot_be_composed_is_noted_too(self, journal):
        with pytest.raises(ConfigError):
            run_member(lambda: compose(["basis=nonsense"]), journal, 0, ["basis=nonsense"], optimised=False)
        (note,) = journal.notes()
        assert note["status"] == "failed"
        assert "nonsense" in note["error"]

    def test_notes_name_the_folders_of_a_machine(self, job, journal, small_clip, tmp_path):
        asked = ["model=vit_b_32", f"model.name=local-dir:{small_clip}", f"paths.data={tmp_path / 'data'}"]
        asked += ["model.pretrained=null", "suite=vision", f"paths.store={tmp_path / 'store'}"]
        with pytest.raises(TaskbasisError):
            run_member(lambda: job(*asked), journal, 0, asked, optimised=False)
        (note,) = journal.notes()
        assert "model.name=local-dir:<model>" in note["overrides"]
        assert "paths.data=<data>" in note["overrides"]
        assert str(tmp_path) not in json.dumps(note)

    def test_an_interrupted_job_is_not_called_failed(self, journal):
        def interrupted():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_member(interrupted, journal, 0, [], optimised=False)
        assert journal.notes()[0]["status"] == "interrupted"


class TestJournal:
    def test_a_sweep_has_the_same_name_when_it_is_launched_again(self):
        assert sweep_name(["M=1,2", "seed=0"]) == sweep_name(["M=1,2", "seed=0"])
        assert sweep_name(["M=1,2", "seed=0"]) != sweep_name(["M=1,2", "seed=1"])

    def test_a_new_launch_forgets_the_notes_and_the_stop_of_the_last(self, journal):
        journal.job(0, []).end("failed", error="x")
        journal.stop()
        journal.begin(["M=1,2"], 2)
        assert journal.notes() == []
        assert not journal.stopped

    def test_the_summary_tells_killed_and_unstarted_jobs_apart(self, journal):
        journal.begin(["M=1,2,3,4"], 4)
        journal.job(0, ["M=1"]).end("completed", "run-1", metrics={"addition/test/top1": 0.5})
        journal.job(1, ["M=2"])
        journal.job(2, ["M=3"]).end("failed", "run-3", error="TrainingError: [bold]nan[/bold]")
        notes = concluded(journal)
        assert counts(notes) == "1 completed, 1 failed, 1 interrupted, 1 not started"
        console = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(summary_table(journal, notes))
        text = console.export_text()
        assert "job 3: TrainingError: [bold]nan[/bold]" in text
        assert "50.0" in text


class TestPlan:
    def test_distinct_work_is_counted_once_and_found_once_done(self, job, tmp_path):
        store = f"paths.store={tmp_path / 'store'}"
        jobs = [job(store, f"basis={basis}", "M=1", f"seed={s}") for basis in ("ae", "exact") for s in (0, 1)]
        jobs.append(jobs[0])
        plan = plan_sweep(jobs)
        assert plan.jobs == 5
        assert [plan.wanted(kind) for kind in KINDS] == [2, 1, 3, 4]
        assert [plan.to_make(kind) for kind in KINDS] == [2, 1, 3, 4]
        assert not (tmp_path / "store").exists(), "planning makes nothing"

    def test_what_a_run_left_is_not_to_be_made(self, job):
        execute(job("basis=exact", "M=1"))
        plan = plan_sweep([job("basis=exact", "M=1"), job("basis=exact", "M=8")])
        assert [plan.to_make(kind) for kind in KINDS[:2]] == [0, 0]
        assert plan.stored("bases") >= 1
        assert plan.to_make("results") == 1

    def test_a_basis_that_the_tasks_cannot_have_is_refused_beforehand(self, tmp_path):
        two = ["tasks=[letters,charts]", f"paths.root={tmp_path}", "trainer=cpu"]
        jobs = [compose([*two, "basis=pca", f"M={M}", f"seed={s}"]) for M in (1, 2) for s in (0, 1)]
        plan = plan_sweep([*jobs, compose([*two, "basis=random", "M=3"])])
        assert [name for name, _ in plan.refused[:2]] == [job.run_name for job in jobs[2:]]
        console = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(plan_table(plan, "sweep-1"))
        text = " ".join(console.export_text().split())
        assert f"2 refused: {jobs[2].run_name} …: M=2 is not possible for 2 tasks with a centred PCA" in text
        assert "1 refused: tiny-mini2-random-M3" in text

    @pytest.mark.parametrize(
        ("key", "good", "bad", "reason"),
        [
            ("basis.tau", "5", "0", "basis.tau=0: must be above 0"),
            (
                "merge.inputs",
                "atoms",
                "atmos",
                "merge.inputs='atmos': accepted are atoms, reconstructed, tasks",
            ),
            ("basis.tau", "5", "warm", "taskbasis.basis.Autoencoder refuses its settings: '>' not supported"),
        ],
    )
    def test_a_value_that_a_class_refuses_is_one_refused_job(self, job, key, good, bad, reason):
        plan = plan_sweep([job(f"{key}={value}") for value in (good, bad)])
        assert plan.wanted("results") == 1
        ((_, said),) = plan.refused
        assert said.startswith(reason)

    def test_jobs_that_cannot_run_are_named(self, job):
        plan = plan_sweep([job("tasks=[nonsense]")])
        ((_, reason),) = plan.refused
        assert "unknown task 'nonsense'" in reason


def test_hydra_does_not_hold_what_jobs_leave():
    """It keeps the returns of all jobs until the sweep has ended."""

    def fail():
        large = [torch.zeros(1)]
        alive.append(weakref.ref(large[0]))
        raise TrainingError("no")

    alive = []
    done = JobReturn(cfg=compose().config, hydra_cfg=compose().config, status=JobStatus.FAILED)
    try:
        fail()
    except TrainingError as error:
        done.return_value = error
    ShowPlan().on_job_end(compose().config, done)
    assert done.cfg is None
    assert done.hydra_cfg is None
    assert alive[0]() is None
    with pytest.raises(TrainingError, match="no"):
        _ = done.return_value

"""A folder of many runs, made from one real one."""

import copy
import json

import pytest

HOSTILE = "<script>window.broken=1</script><img src=x onerror=window.broken=1>"


@pytest.fixture(scope="session")
def real_result(run_small):
    """The result of a real reduced run with all protocols."""
    return run_small("basis=exact", "M=1", "evaluation=all")


@pytest.fixture(scope="session")
def make_runs(real_result):
    """Writes runs that differ in basis, M and seed into a folder: one of them failed, one of them hostile."""

    def write(folder, result):
        place = folder / f"run-{len(list(folder.glob('run-*')))}"
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(result))
        (place / "run.log").write_text("nothing to see")

    def make(folder, methods=("ae", "exact"), seeds=3):
        for method in methods:
            for M in (1, 2, 4):
                for seed in range(seeds):
                    result = copy.deepcopy(real_result)
                    result["run"] |= {"id": f"tiny-mini3-{method}-M{M}-s{seed}f0"}
                    result["run"]["choices"]["basis"] = method
                    result["config"] |= {"M": M, "seed": seed}
                    result["protocols"]["addition"]["normalized_top1"] = 0.7 + 0.05 * M + 0.01 * seed
                    write(folder, result)
        failed = copy.deepcopy(real_result)
        failed = {k: failed[k] for k in ("schema", "run", "config", "overrides", "seeds", "tasks")}
        failed["run"] = failed["run"] | {
            "id": "failed-run",
            "status": "failed",
            "error": f"TrainingError: {HOSTILE}",
        }
        write(folder, failed)
        hostile = copy.deepcopy(real_result)
        hostile["run"] |= {"id": HOSTILE}
        hostile["config"]["merge"][HOSTILE] = HOSTILE
        hostile["protocols"]["unknown"] = {HOSTILE: 1.5, "curve": []}
        hostile["tasks"] = [HOSTILE, *hostile["tasks"][1:]]
        for part in (
            hostile["single"]["zeroshot"],
            hostile["single"]["finetuned"],
            hostile["protocols"]["addition"]["test"],
        ):
            first = next(iter(part))
            part[HOSTILE] = part.pop(first)
            for later in [key for key in part if key != HOSTILE]:
                part[later] = part.pop(later)
        negated = hostile["protocols"]["negation"]["tasks"]
        negated[HOSTILE] = negated.pop(next(iter(negated)))
        write(folder, hostile)
        (folder / "broken").mkdir()
        (folder / "broken" / "result.json").write_text('{"schema": 1,')
        return folder

    return make


@pytest.fixture(scope="session")
def runs(make_runs, tmp_path_factory):
    """Twenty runs that can be read and one that cannot."""
    return make_runs(tmp_path_factory.mktemp("dashboard") / "runs")

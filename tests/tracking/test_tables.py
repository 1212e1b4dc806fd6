"""Tables from sets of runs: grouping over seeds, pivots, best values, formats."""

import csv
import io
import statistics

import pytest
from rich.console import Console

from taskbasis.errors import ConfigError
from taskbasis.table import main
from taskbasis.tracking.collection import Run
from taskbasis.tracking.render import latex, markdown, parquet, rich_table, write_table_file
from taskbasis.tracking.tables import make_table, telling

METRIC = "addition/test/normalized_top1"


class Known(Run):
    """A run with given settings and metrics."""

    config = metrics = None


def known(tmp_path, status="completed", metrics=None, **config):
    run = Known(tmp_path, {"run": {"status": status, "id": "x"}})
    object.__setattr__(run, "config", config)
    object.__setattr__(run, "metrics", metrics or {})
    return run


@pytest.fixture
def runs(tmp_path):
    """Two bases, three M, three seeds; ``pca`` has a parameter that ``ae`` has not, and no M=7."""
    found = []
    for basis, bonus in (("ae", 0.1), ("pca", 0.0)):
        for M in (2, 4, 7) if basis == "ae" else (2, 4):
            for seed in range(3):
                own = {"basis.center": True} if basis == "pca" else {"basis.tau": 5.0, "basis.seed": seed}
                value = 0.5 + bonus + 0.02 * M + 0.01 * seed
                metrics = {METRIC: value, "basis/loss": 1 / M, "addition/alpha": 0.5}
                found.append(known(tmp_path, metrics=metrics, basis=basis, M=M, seed=seed, **own))
    found.append(known(tmp_path, status="failed", basis="ae", M=20, seed=0))
    return found


def test_seeds_become_mean_and_standard_deviation(runs):
    table = make_table(runs, [METRIC])
    assert table.keys == ("basis", "M")
    assert [name for name, _ in table.rows] == [("ae", 2), ("ae", 4), ("ae", 7), ("pca", 2), ("pca", 4)]
    (cell,) = table.rows[0][1]
    assert cell.mean == pytest.approx(0.65)
    assert cell.std == pytest.approx(statistics.stdev([0.64, 0.65, 0.66]))
    assert cell.text == "65.0 ± 1.0"
    assert table.averaged == ()


def test_a_pivot_turns_values_into_columns_and_leaves_gaps(runs):
    table = make_table(runs, [METRIC], pivot="M")
    assert table.keys == ("basis",)
    assert table.columns == ("M=2", "M=4", "M=7")
    assert table.rows[1][1][2] is None
    assert "–" in markdown(table)


def test_a_pivot_says_which_metric_it_shows(runs):
    table = make_table(runs, [METRIC], pivot="M")
    assert markdown(table).startswith("addition/test/normalized\\_top1, %\n\n| basis |")
    assert r"\multicolumn{4}{l}{addition/test/normalized\_top1, \%} \\" in latex(table)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(rich_table(make_table(runs, [METRIC], rows=[], pivot="basis")))
    assert console.export_text().startswith(f"{METRIC}, %\n┏"), "in one line, however narrow the table"
    assert make_table(runs, ["basis/loss"], pivot="M").title == "basis/loss"
    assert make_table(runs, [METRIC, "basis/loss"], pivot="M").title is None, "the columns say it"
    assert make_table(runs, [METRIC]).title is None, "the columns say it"


def test_runs_without_the_pivot_have_a_column_that_says_so(runs, tmp_path):
    plain = known(tmp_path, metrics={METRIC: 0.7}, basis="none", seed=0)
    assert make_table([*runs, plain], [METRIC], pivot="M").columns == ("M=2", "M=4", "M=7", "no M")


def test_what_follows_from_other_settings_names_no_row(runs):
    assert telling([r for r in runs if r.status == "completed"]) == ("basis", "M")


def test_the_best_is_the_highest_accuracy_and_the_lowest_loss(runs):
    table = make_table(runs, [METRIC, "basis/loss", "addition/alpha"], rows=["basis", "M"])
    assert [table.best(i) for i in range(3)] == [{2}, {2}, set()]
    table = make_table([r for r in runs if r.config["M"] != 7], [METRIC], pivot="M")
    assert table.best(0) == {0}


def test_averaging_over_more_than_seeds_is_said(runs):
    assert "M" in make_table(runs, [METRIC], rows=["basis"]).averaged


def test_markdown_and_latex_mark_the_best_and_escape(tmp_path):
    runs = [known(tmp_path, metrics={METRIC: v}, basis=b) for b, v in (("a_b|c", 0.9), ("x%&", 0.5))]
    table = make_table(runs, [METRIC])
    assert "| a\\_b\\|c | **90.0** |" in markdown(table)
    text = latex(table)
    assert r"a\_b|c & \textbf{90.0} \\" in text
    assert r"x\%\& & 50.0 \\" in text
    assert r"addition/test/normalized\_top1" in text


def test_parquet_holds_every_cell(runs):
    pq = pytest.importorskip("pyarrow.parquet")
    found = pq.read_table(io.BytesIO(parquet(make_table(runs, [METRIC], pivot="M")))).to_pylist()
    assert len(found) == 5
    assert found[0]["runs"] == 3
    assert found[0]["mean"] == pytest.approx(0.65)


def test_what_is_not_there_is_named(runs, tmp_path):
    with pytest.raises(ConfigError, match="no run has the metric 'nonsense'; there are addition/alpha, "):
        make_table(runs, ["nonsense"])
    with pytest.raises(ConfigError, match="no run has the setting 'nonsense'; there are M, basis"):
        make_table(runs, [METRIC], pivot="nonsense")
    with pytest.raises(ConfigError, match="no completed runs"):
        make_table(runs[-1:], [METRIC])
    with pytest.raises(ConfigError, match=r"table\.xls: the name may end with \.md, \.tex, \.csv, \.parquet"):
        write_table_file(make_table(runs, [METRIC]), tmp_path / "table.xls")


def test_a_pivot_of_negation_shows_what_is_forgotten(run_small, tmp_path, capsys):
    run_small("basis=exact", "M=1", "evaluation=negation", runs=tmp_path)
    capsys.readouterr()
    assert main([str(tmp_path), "--pivot", "M", "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("negation/test/target\\_top1, %\n")


def test_conditions_that_no_run_meets_are_named(run_small, tmp_path):
    run_small("basis=exact", "M=1", runs=tmp_path)
    with pytest.raises(
        ConfigError, match=r"--where bassis=ae: no run has this setting; there are M, basis, "
    ):
        main([str(tmp_path), "--where", "bassis=ae"])
    with pytest.raises(ConfigError, match=r"--where basis=ae,pca: no run has this value; there are exact$"):
        main([str(tmp_path), "--where", "basis=ae,pca"])


def test_the_command_prints_and_writes(run_small, tmp_path, capsys):
    for seed in (0, 1):
        run_small("basis=random_sample", "M=1", f"seed={seed}", runs=tmp_path / "runs")
    run_small("basis=exact", "M=1", runs=tmp_path / "runs")
    capsys.readouterr()
    assert main([str(tmp_path / "runs"), "--format", "markdown"]) == 0
    assert "| random\\_sample |" in capsys.readouterr().out
    path = tmp_path / "table.csv"
    assert main([str(tmp_path / "runs"), "--pivot", "M", "--out", str(path)]) == 0
    rows = list(csv.DictReader(path.open()))
    assert {row["basis"]: row["runs"] for row in rows} == {"random_sample": "2", "exact": "1"}
    assert main([str(tmp_path / "runs"), "--where", "basis=exact", "--metrics", "basis/loss"]) == 0
    assert "random" not in capsys.readouterr().out

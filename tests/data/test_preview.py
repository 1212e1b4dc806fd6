import pytest
from PIL import Image

from taskbasis.data.__main__ import main
from taskbasis.data.mini import TASKS
from taskbasis.errors import StoreError


def test_contact_sheet_has_a_row_per_task_and_one_for_the_control(tmp_path, capsys):
    out = tmp_path / "deep" / "sheet.png"
    assert main(["preview", "--suite", "mini", "--columns", "3", "--seed", "1000", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out.replace("\n", "")
    with Image.open(out) as sheet:
        assert sheet.height == (len(TASKS) + 1) * 66
        assert sheet.width == 110 + 3 * 66


def test_an_unwritable_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        main(["preview", "--columns", "1", "--out", str(tmp_path / "file" / "x.png")])

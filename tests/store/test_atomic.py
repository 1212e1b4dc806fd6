import pytest

from taskbasis.errors import StoreError
from taskbasis.store.atomic import new_folder, write_json, write_text


def test_a_write_replaces_the_whole_file_and_leaves_no_temporary(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_values_that_json_cannot_say_are_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "file.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        write_text(tmp_path / "file" / "x.txt", "text")


def test_an_interrupted_folder_does_not_appear(tmp_path):
    def interrupted():
        with new_folder(tmp_path / "final") as folder:
            (folder / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_folder_replaces_the_old_one(tmp_path):
    for text in ("old", "new"):
        with new_folder(tmp_path / "final") as folder:
            (folder / text).write_text(text)
    assert [p.name for p in (tmp_path / "final").iterdir()] == ["new"]


def test_files_of_a_folder_can_be_read_by_whoever_may_read_the_folder(tmp_path):
    with new_folder(tmp_path / "final") as folder:
        (folder / "private").write_text("x")
        (folder / "private").chmod(0o600)
    mode = (tmp_path / "final").stat().st_mode & 0o666
    assert (tmp_path / "final" / "private").stat().st_mode & 0o777 == mode

import hashlib
import json
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from xxhash import xxh3_128

from taskbasis.errors import StoreError
from taskbasis.store import StageKey, Store, hashing
from taskbasis.store.__main__ import main as store_command
from taskbasis.store.hashing import file_sha256, hash_files


@dataclass(frozen=True)
class Key(StageKey):
    STAGE: ClassVar[str] = "demo"
    VERSION: ClassVar[int] = 1
    value: int
    upstream: str = ""


def writes(text, log=None):
    def build(folder: Path):
        if log is not None:
            log.append(text)
        (folder / "data.txt").write_text(text)
        return {"said": text}

    return build


def test_a_result_is_built_once(tmp_path):
    store, log = Store(tmp_path), []
    first = store.make(Key(1), writes("a", log))
    second = store.make(Key(1), writes("b", log))
    assert log == ["a"]
    assert second.file("data.txt").read_text() == "a"
    assert (first.reused, second.reused) == (False, True)
    assert second.meta == {"said": "a"}


def test_content_hash_depends_on_files_only(tmp_path):
    a = Store(tmp_path / "a").make(Key(1), writes("same"))
    b = Store(tmp_path / "b").make(Key(2), writes("same"))
    c = Store(tmp_path / "c").make(Key(1), writes("other"))
    assert a.content == b.content != c.content


def test_keys_differ_by_field_stage_and_version():
    class Newer(Key):
        VERSION: ClassVar[int] = 2

    class Elsewhere(Key):
        STAGE: ClassVar[str] = "other"

    digests = {k.digest for k in (Key(1), Key(2), Key(1, "x"), Newer(1), Elsewhere(1))}
    assert len(digests) == 5


def test_a_changed_upstream_artifact_gives_another_key(tmp_path):
    store = Store(tmp_path)

    def chain():
        up = store.make(Key(1), writes("up"))
        return store.make(Key(2, up.content), writes(f"from {up.content}"))

    before = chain()
    folder = store.folder(Key(1))
    (folder / "manifest.json").unlink()
    store.make(Key(1), writes("perturbed"))
    assert chain().path != before.path


@pytest.mark.parametrize("damage", ["truncate", "alter", "delete", "manifest"])
def test_a_damaged_artifact_is_named_and_made_again(tmp_path, caplog, damage):
    store, log = Store(tmp_path), []
    file = store.make(Key(1), writes("text", log)).file("data.txt")
    store.make(Key(1), writes("text", log))
    if damage == "truncate":
        file.write_text("te")
    elif damage == "alter":
        file.write_text("tExt")
    elif damage == "delete":
        file.unlink()
    else:
        file, text = file.with_name("manifest.json"), "{"
        file.write_text(text)
    with caplog.at_level("WARNING", logger="taskbasis"):
        again = store.make(Key(1), writes("text", log))
    assert str(file) in caplog.text
    assert log == ["text", "text"]
    assert again.file("data.txt").read_text() == "text"


def test_verify_reads_files_again_although_they_look_unchanged(tmp_path, capsys):
    import os

    store = Store(tmp_path)
    file = store.make(Key(1), writes("text")).file("data.txt")
    assert store.find(Key(1)) is not None  # memoises the hash
    stat = file.stat()
    file.write_text("tExt")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    count, problems = store.verify()
    assert count == 1
    assert len(problems) == 1
    assert str(file) in problems[0]
    assert store_command(["verify", "--root", str(tmp_path)]) == 1
    assert "1 damaged" in capsys.readouterr().out


def test_a_failing_build_leaves_nothing(tmp_path):
    def build(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        Store(tmp_path).make(Key(1), build)
    assert [p.name for p in (tmp_path / "demo").iterdir() if not p.name.endswith(".lock")] == []


def test_a_store_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write in"):
        Store(tmp_path / "file").make(Key(1), writes("a"))


def test_asking_for_a_file_that_is_not_there_names_what_is(tmp_path):
    artifact = Store(tmp_path).make(Key(1), writes("a"))
    with pytest.raises(StoreError, match=r"data\.txt"):
        artifact.file("weights.safetensors")


def test_manifest_is_readable_json_with_key_and_versions(tmp_path):
    artifact = Store(tmp_path).make(Key(7), writes("a"))
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    assert manifest["key"] == {"value": 7, "upstream": ""}
    assert manifest["files"]["data.txt"]["size"] == 1
    assert "torch" in manifest["made_with"]


def _build_in_process(root, log):
    def build(folder):
        with open(log, "a") as file:
            file.write("built\n")
        (folder / "data.txt").write_text("x")

    Store(root).make(Key(1), build)


def test_parallel_processes_build_a_result_once(tmp_path):
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    jobs = [context.Process(target=_build_in_process, args=(tmp_path / "s", log)) for _ in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * 4
    assert log.read_text() == "built\n"


def age(path):
    """Let a file look as if it had been written long ago."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))


def read_again(path, state):
    pytest.fail(f"{path} was read again")


def test_file_hash_is_memoised_until_the_file_changes(tmp_path, monkeypatch):
    file, memo = tmp_path / "f", tmp_path / "memo"
    file.write_text("one")
    age(file)
    first = file_sha256(file, memo)
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "_hash_file", read_again)
        assert file_sha256(file, memo) == first
    file.write_text("two!")
    assert file_sha256(file, memo) != first


def test_a_file_just_written_is_not_memoised_since_it_may_change_within_the_clock_tick(tmp_path):
    file, memo = tmp_path / "f", tmp_path / "memo"
    file.write_text("one")
    os.utime(file, ns=(0, time.time_ns()))
    file_sha256(file, memo)
    assert not memo.exists()


def test_files_are_hashed_by_several_threads_like_one_by_one(tmp_path):
    files = [tmp_path / str(i) for i in range(7)]
    for i, file in enumerate(files):
        file.write_bytes(bytes(i) * 1000)
    found = hash_files(files, threads=3)
    assert list(found) == files
    assert found == {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    with pytest.raises(StoreError, match=r"cannot read .*absent"):
        hash_files([*files, tmp_path / "absent"])


def test_a_fast_hash_is_that_of_the_whole_file_in_one_piece(tmp_path):
    empty, long = tmp_path / "empty", tmp_path / "long"
    empty.write_bytes(b"")
    content = bytes(range(256)) * 10_001
    long.write_bytes(content)
    found = hash_files([empty, long], "xxh3_128")
    # The value of nothing is published with the algorithm.
    assert found == {empty: "99aa06d3014798d86001c324468d497f", long: xxh3_128(content).hexdigest()}


def test_a_memo_that_cannot_be_written_is_done_without(tmp_path):
    file, memo = tmp_path / "f", tmp_path / "memo"
    file.write_text("one")
    age(file)
    memo.write_text("a file where the folder should be")
    assert file_sha256(file, memo) == hashlib.sha256(b"one").hexdigest()


def test_what_was_hashed_when_it_was_stored_is_not_read_again(tmp_path, monkeypatch):
    store, key = Store(tmp_path / "s"), Key(1)

    def build(folder):
        (folder / "data").write_text("content")
        age(folder / "data")

    store.make(key, build)
    monkeypatch.setattr(hashing, "_hash_file", read_again)
    assert store.make(key, build).reused

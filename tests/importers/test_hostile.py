"""Files made to do harm: each is refused with one clear message, and nothing in it runs."""

import builtins
import contextlib
import functools
import importlib
import operator
import os
import pickle
import shutil
import struct
import subprocess
import zipfile
from collections import OrderedDict

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pickles import Calls, calling, program, rebuilt, tensor

from taskbasis.errors import ImporterError
from taskbasis.importers import import_checkpoint
from taskbasis.importers.machine import Inert
from taskbasis.importers.unpickler import load


def test_the_hand_made_pickle_is_what_torch_loads(save_payload):
    path = save_payload(rebuilt(size=(2, 2), stride=(1, 2)))
    expected = torch.load(path, weights_only=True)["x"]
    assert torch.equal(load(path).value["x"], expected)
    assert expected.tolist() == [[0.0, 2.0], [1.0, 3.0]]


@pytest.mark.parametrize("modules", [False, True])
@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, "posix.system"),
        (subprocess.call, r"commands\.call"),
        (shutil.rmtree, "shutil.rmtree"),
        (builtins.eval, "eval"),
        (builtins.exec, "exec"),
        (builtins.getattr, "getattr"),
        (builtins.__import__, "__import__"),
        (importlib.import_module, "importlib.import_module"),
        (functools.partial, "functools.partial"),
        (operator.attrgetter, "operator.attrgetter"),
        (torch.load, "torch.serialization.load"),
        (torch.hub.load, "torch.hub.load"),
        (pickle.loads, "pickle.loads"),
    ],
)
def test_functions_are_refused_by_name_and_not_called(save_payload, tmp_path, function, named, modules):
    path = save_payload(calling(function, f"touch {tmp_path / 'ran'}"))
    with pytest.raises(ImporterError, match=rf"refers to \S*{named}, .*nothing of it was run"):
        load(path, modules=modules)
    assert not (tmp_path / "ran").exists()


def test_a_chain_of_calls_is_refused_at_its_first_link(save_payload, tmp_path):
    command = f"touch {tmp_path / 'ran'}"
    chain = Calls(Calls(getattr, Calls(importlib.import_module, "os"), "system"), command)
    path = save_payload(pickle.dumps(chain, protocol=2))
    with pytest.raises(ImporterError, match="getattr"):
        import_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_a_payload_inside_a_module_of_the_lineage_stops_the_whole_import(lineage, tmp_path):
    def make(src):
        encoder = src.ImageEncoder(torch.nn.Linear(2, 2))
        encoder.cache_dir = Calls(os.system, f"touch {tmp_path / 'ran'}")
        return encoder

    with pytest.raises(ImporterError, match=r"posix\.system"):
        import_checkpoint(lineage(make, "finetuned.pt"))
    assert not (tmp_path / "ran").exists()


def test_names_of_accepted_packages_lead_to_no_import(save_payload):
    program = b"\x80\x02ctorch.nn.modules.module\nos.system\n(X\x04\x00\x00\x00truetR."
    found = load(save_payload(program), modules=True).value
    assert isinstance(found, Inert)
    assert found.NAME == "torch.nn.modules.module.os.system"
    assert found.arguments == ("true",)


@pytest.mark.parametrize(
    "target", ["torch\nFloatStorage", "torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict"]
)
@pytest.mark.parametrize(
    "state", [b"}X\x05\x00\x00\x00dtypeK\x01s", b"N}X\x08\x00\x00\x00__call__K\x01s\x86"]
)
def test_answers_cannot_be_altered_by_a_pickle(save_payload, target, state):
    program = b"\x80\x02c" + target.encode() + b"\n" + state + b"b."
    with pytest.raises(ImporterError):
        load(save_payload(program))
    assert torch.equal(load(save_payload(rebuilt(), "again.pt")).value["x"], torch.arange(4.0))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"\x80\x02\x82\x01.", "opcode EXT1"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "memo place 2147483647"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "damaged"),
        (b"\x80\x02", "damaged"),
        (b"", "damaged"),
        (b"\x80\x02}(K\x01X\x01\x00\x00\x00a.", "neither a module nor a state dict|damaged"),
        (b"\x80\x02K\x01Q.", "does not describe a storage"),
    ],
)
def test_malformed_programs_are_refused(save_payload, program, message):
    with pytest.raises(ImporterError, match=message):
        import_checkpoint(save_payload(program))


class TestState:
    """A pickle may set the state of inert objects, and of nothing that has methods to set it by."""

    EMPTY = tensor(count=0, size=(0,))
    GROWN = (EMPTY, 0, (1 << 20,), (1,))
    """What makes a tensor set its storage anew, without any check of bounds."""

    @pytest.mark.parametrize(
        "value",
        [
            tensor(count=0, size=(0,), state=GROWN),
            tensor(state=GROWN),
            Calls(torch._utils._rebuild_parameter, EMPTY, False, OrderedDict(), state=GROWN),
        ],
        ids=["empty", "mapped", "parameter"],
    )
    @pytest.mark.parametrize("modules", [False, True])
    def test_a_tensor_has_none(self, save_payload, value, modules):
        with pytest.raises(ImporterError, match="sets the state of a Tensor"):
            load(save_payload(program({"x": value})), modules=modules)

    def test_a_dict_has_none(self, save_payload):
        path = save_payload(b"\x80\x02}}X\x05\x00\x00\x00itemsK\x01sb.")
        with pytest.raises(ImporterError, match="sets the state of a dict"):
            load(path)

    def test_attributes_of_an_ordered_dict_are_left_out(self, save_payload):
        shadowed = Calls(OrderedDict, state={"items": 1, "values": 2, "get": 3})
        path = save_payload(program(shadowed)[:-1] + b"X\x01\x00\x00\x00x" + program(tensor())[2:-1] + b"s.")
        found = load(path).value
        assert vars(found) == {}
        assert torch.equal(import_checkpoint(path).tensors["x"], torch.arange(4.0))

    def test_the_versions_in_a_state_dict_of_torch_are_no_obstacle(self, tmp_path):
        state = torch.nn.BatchNorm1d(3).state_dict()
        assert vars(state).keys() == {"_metadata"}
        torch.save(state, tmp_path / "m.pt")
        assert import_checkpoint(tmp_path / "m.pt").tensors.keys() == state.keys()


class TestMethods:
    """Opcodes reach for methods of what lies on the stack; those of tensors compute and allocate."""

    @pytest.mark.parametrize(
        ("opcodes", "message"),
        [
            (b"K\x00K\x01s.", "sets items of a Tensor"),
            (b"(K\x00K\x01u.", "sets items of a Tensor"),
            (b"(K\x01\x90.", "adds to a Tensor"),
            (b"K\x01a.", "appends to a Tensor"),
            (b")R.", "calls a Tensor"),
            (b")\x81.", "makes a Tensor"),
        ],
    )
    def test_tensors_are_not_acted_upon(self, save_payload, opcodes, message):
        with pytest.raises(ImporterError, match=message):
            load(save_payload(program(tensor())[:-1] + opcodes))

    def test_arguments_are_not_taken_from_a_tensor(self, save_payload):
        wide = program(tensor(count=0, size=(1 << 50, 0), stride=(1, 1)))[2:-1]
        with pytest.raises(ImporterError, match="makes a set of a Tensor"):
            load(save_payload(b"\x80\x02c__builtin__\nset\n" + wide + b"\x85R."))
        with pytest.raises(ImporterError, match="calls a Function"):
            load(save_payload(b"\x80\x02ctorch\nSize\n" + wide + b"R."))

    @pytest.mark.parametrize("put", [b"})%sK\x01s.", b"}()%sK\x01u.", b"\x8f()%s\x90."])
    def test_a_key_nested_so_deeply_that_its_hash_ends_the_process(self, save_payload, put):
        with pytest.raises(ImporterError, match="has as a key a tuple"):
            load(save_payload(b"\x80\x02" + put % (b"\x85" * 1_000_000)))

    def test_many_large_sets_of_one_list(self, save_payload):
        listed = b"](" + b"".join(b"J" + struct.pack("<i", i) for i in range(1000)) + b"eq\x01"
        path = save_payload(
            b"\x80\x02]c__builtin__\nset\nq\x00" + listed + b"00(" + b"h\x00h\x01\x85R" * 50 + b"e."
        )
        assert [len(made) for made in load(path).value] == [1000] + [0] * 49


class TestBounds:
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        offset=st.integers(-2, 6),
        size=st.lists(st.integers(-1, 5), max_size=3),
        data=st.data(),
    )
    def test_a_tensor_is_what_torch_says_or_is_refused(self, save_payload, offset, size, data):
        stride = data.draw(st.lists(st.integers(-1, 4), min_size=len(size), max_size=len(size)))
        path = save_payload(rebuilt(offset=offset, size=tuple(size), stride=tuple(stride)))
        numbers = [offset, *size, *stride]
        total = torch.Size(max(n, 0) for n in size).numel()
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if min(numbers) < 0 or (total and (last > 3 or total > 4)):
            with pytest.raises(ImporterError, match="a tensor"):
                load(path)
        else:
            found = load(path).value["x"]
            assert found.shape == tuple(size)
            if total:
                assert torch.equal(found, torch.arange(4.0).as_strided(size, stride, offset))

    def test_an_expanded_tensor_larger_than_its_storage_is_refused(self, save_payload):
        with pytest.raises(ImporterError, match="exceeds storage '0' of 4 elements"):
            load(save_payload(rebuilt(size=(1 << 40,), stride=(0,))))

    @pytest.mark.parametrize("count", [5, 1 << 60, -1])
    def test_a_storage_larger_than_its_member_is_refused(self, save_payload, count):
        with pytest.raises(ImporterError, match=f"should have {count} elements, but it has 16 bytes"):
            load(save_payload(rebuilt(count=count)))

    def test_a_wider_dtype_than_stored_is_refused(self, save_payload):
        with pytest.raises(ImporterError, match="should have 4 elements"):
            load(save_payload(rebuilt("DoubleStorage")))

    @pytest.mark.parametrize("key", ["../0", "/etc/passwd", "0/../../data/0", "..", "", "1", "0\0"])
    def test_a_storage_key_can_only_name_a_member(self, save_payload, key):
        with pytest.raises(ImporterError, match="refers to the storage"):
            load(save_payload(rebuilt(key=key)))

    def test_an_unknown_storage_type_is_refused(self, save_payload):
        with pytest.raises(ImporterError, match=r"torch\.storage\.UntypedStorage|ComplexFloatStorage"):
            load(save_payload(rebuilt("ComplexFloatStorage")))


class TestContainer:
    def test_big_endian_files(self, save_payload):
        path = save_payload(rebuilt(), byteorder="big")
        with pytest.raises(ImporterError, match="byteorder b'big' is not supported"):
            load(path)

    def test_the_legacy_format(self, tmp_path):
        torch.save({"x": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
        with pytest.raises(ImporterError, match="legacy format"):
            load(tmp_path / "old.pt")

    def test_a_bare_pickle(self, tmp_path):
        (tmp_path / "bare.pt").write_bytes(calling(os.system, f"touch {tmp_path / 'ran'}"))
        with pytest.raises(ImporterError, match="not a zip archive"):
            load(tmp_path / "bare.pt")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "name", ["../outside", "/etc/x", "file/../../x", "file/./x", "file//x", "file\\x"]
    )
    def test_members_with_strange_names(self, write_archive, name):
        path = write_archive({"file/data.pkl": rebuilt(), name: b""}, prefix="")
        with pytest.raises(ImporterError, match="member with the name"):
            load(path)

    def test_members_in_another_folder(self, write_archive):
        path = write_archive({"a/data.pkl": rebuilt(), "b/data.pkl": rebuilt()}, prefix="")
        with pytest.raises(ImporterError, match=r"member with the name 'b/data\.pkl'"):
            load(path)

    def test_an_archive_within_an_archive(self, write_archive, save_payload):
        inner = save_payload(rebuilt(), "inner.pt").read_bytes()
        for name in ("data.pkl", "inner/data.pkl", "inner.pt"):
            with pytest.raises(ImporterError, match=r"has no data\.pkl|damaged"):
                load(write_archive({name: inner}, "outer.pt"))

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_two_members_of_one_name(self, tmp_path):
        path = tmp_path / "twice.pt"
        with zipfile.ZipFile(path, "w") as made:
            for program in (rebuilt(), calling(os.system, "true")):
                made.writestr("file/data.pkl", program)
        with pytest.raises(ImporterError, match="several members of one name"):
            load(path)

    def test_compressed_members(self, write_archive):
        path = write_archive({"data.pkl": rebuilt()}, compression=zipfile.ZIP_DEFLATED)
        with pytest.raises(ImporterError, match="compressed or encrypted"):
            load(path)

    def test_a_file_that_is_cut_off(self, save_payload):
        path = save_payload(rebuilt())
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(ImporterError, match=r"not a zip archive|damaged"):
            load(path)

    def test_a_storage_with_a_flipped_bit_is_named(self, save_payload):
        path = save_payload(rebuilt())
        content = path.read_bytes()
        place = content.index(torch.arange(4.0).numpy().tobytes())
        path.write_bytes(content[:place] + b"\1" + content[place + 1 :])
        with pytest.raises(ImporterError, match="checksum of storage '0' is wrong"):
            load(path)

    def test_a_member_whose_name_is_no_text(self, tmp_path):
        torch.save({"x": torch.ones(2)}, tmp_path / "file.pt")
        content = bytearray((tmp_path / "file.pt").read_bytes())
        content[content.rindex(b"byteorder")] |= 0x80
        (tmp_path / "file.pt").write_bytes(content)
        with pytest.raises(ImporterError, match=r"file\.pt is damaged: 'utf-8' codec can't decode"):
            load(tmp_path / "file.pt")

    def test_an_archive_on_several_disks(self, tmp_path):
        torch.save({"x": torch.ones(2)}, tmp_path / "file.pt")
        content = bytearray((tmp_path / "file.pt").read_bytes())
        locator = content.rindex(b"PK\6\7")
        struct.pack_into("<I", content, locator + 16, 2)
        (tmp_path / "file.pt").write_bytes(content)
        with pytest.raises(ImporterError, match=r"file\.pt is damaged: .*multiple disks"):
            load(tmp_path / "file.pt")

    @pytest.mark.parametrize("field", [26, 28])
    def test_local_headers_that_point_beyond_the_file(self, save_payload, field):
        path = save_payload(rebuilt())
        content = bytearray(path.read_bytes())
        header = content.index(b"PK\3\4", content.index(b"file/data/0") - 40)
        struct.pack_into("<H", content, header + field, 0xFFFF)
        path.write_bytes(content)
        with pytest.raises(ImporterError, match="damaged"):
            load(path)

    def test_other_zip_files(self, write_archive):
        with pytest.raises(ImporterError, match=r"not one of torch\.save"):
            load(write_archive({"word/document.xml": b"<x/>"}, prefix="x/"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
@example(edits=[(91, 143)])
def test_a_mutated_pickle_is_read_or_refused_and_never_anything_else(write_archive, mutant, edits):
    program, storages = mutant
    changed = bytearray(program)
    for place, byte in edits:
        changed[place % len(changed)] = byte
    path = write_archive({"data.pkl": bytes(changed), **storages})
    with contextlib.suppress(ImporterError):
        import_checkpoint(path)


@pytest.fixture
def mutant(lineage):
    """The pickle and the storages of an encoder."""
    path = lineage(
        lambda src: src.ImageEncoder(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.GELU())), "e.pt"
    )
    with zipfile.ZipFile(path) as archive:
        members = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    return members["data.pkl"], {k: v for k, v in members.items() if k.startswith("data/")}

"""Whatever was done to a checkpoint: one line names the file, and no store is touched."""

import json
import shutil
import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saver.dict_store import check_whole, new_stores, save
from sparrow.errors import CheckpointError
from sparrow.saver import Saver, describe_checkpoint
from sparrow.saver.tensor_files import write_tensors


def refuse(checkpoint, *, named):
    stores = new_stores()
    with pytest.raises(CheckpointError) as caught:
        Saver(checkpoint.parent).load(checkpoint, stores)
    assert str(named) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(store.num_changes for store in stores.values())
    return str(caught.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save(tmp_path_factory.mktemp("whole"), 5)


def files_of(checkpoint):
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_any_damage_to_any_file_is_found(whole, tmp_path_factory, data):
    checkpoint = tmp_path_factory.mktemp("hostile") / whole.name
    shutil.copytree(whole, checkpoint)
    path = data.draw(st.sampled_from(files_of(checkpoint)), "file")
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1), "place")
    damage = data.draw(st.sampled_from(["flip", "cut", "grow", "garbage", "empty", "delete", "folder"]), "damage")
    if damage == "flip":
        content[place] ^= 1 << data.draw(st.integers(0, 7), "bit")
    elif damage == "cut":
        del content[place:]
    elif damage == "grow":
        content += b"\0"
    elif damage == "garbage":
        content[place:] = bytes((byte * 7 + 1) % 256 for byte in content[place:])
    elif damage == "empty":
        content.clear()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "delete":
        path.write_bytes(content)
    is_gone = damage == "delete" and path.name == "manifest.json"
    refuse(checkpoint, named=checkpoint if is_gone else path)


def keys_of(value, path=()):
    """Every place of a JSON tree, but inside what the saver passes to stores unread."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from keys_of(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from keys_of(item, (*path, index))


def rewrite(checkpoint, change):
    """Edit the manifest and give it a checksum that fits, as a careful forger or a wrong writer would."""
    path = checkpoint / "manifest.json"
    content = json.loads(path.read_bytes())
    del content["crc32"]
    change(content)

    def text(value):
        return (json.dumps(value, indent=1) + "\n").encode()

    path.write_bytes(text({**content, "crc32": zlib.crc32(text(content))}))


UNREAD = {"initializer", "seed", "salt"}


def is_read(place):
    """Step counts and seeds inside a description are the store's to check."""
    return place[-1] not in UNREAD and place != ("crc32",) and not (place[-1] == "step" and "description" in place)


@pytest.mark.parametrize("wrong", [None, -1, "x", True, 1.5, {}, [7], "missing"])
def test_every_key_of_the_manifest_is_checked(whole, tmp_path, wrong):
    places = [place for place in keys_of(json.loads((whole / "manifest.json").read_bytes())) if is_read(place)]
    assert {("dense", "crc32"), ("stores", 1, "description", "tables", 0, "dim"), ("stores", 0, "chunks", 5, "file", "path")} <= set(places)
    checkpoint = tmp_path / "edited"
    shutil.copytree(whole, checkpoint)
    for place in places:

        def change(content, place=place):
            for key in place[:-1]:
                content = content[key]
            if wrong == "missing":
                del content[place[-1]]
            else:
                content[place[-1]] = wrong

        rewrite(checkpoint, change)
        refuse(checkpoint, named=checkpoint)
        shutil.copy(whole / "manifest.json", checkpoint)


def test_a_faithful_rewrite_is_accepted(whole, tmp_path):
    checkpoint = tmp_path / "copy"
    shutil.copytree(whole, checkpoint)
    rewrite(checkpoint, lambda content: None)
    assert check_whole(checkpoint) == 5


def test_an_edit_without_the_checksum_is_found(checkpoint):
    path = checkpoint / "manifest.json"
    path.write_text(path.read_text().replace('"step": 5', '"step": 6'))
    assert "'crc32'" in refuse(checkpoint, named=path)


def test_another_format_version_says_what_to_use(checkpoint):
    rewrite(checkpoint, lambda content: content.update(version=2))
    assert "'version' is 2, this Sparrow reads 1; use the Sparrow that saved it" in refuse(checkpoint, named="manifest.json")


@pytest.mark.parametrize("garbage", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 200_000, b'{"format": "other"}', b"9" * 5000, b"nan"])
def test_a_manifest_of_garbage_is_refused(checkpoint, garbage):
    (checkpoint / "manifest.json").write_bytes(garbage)
    refuse(checkpoint, named=checkpoint / "manifest.json")
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        describe_checkpoint(checkpoint)


@pytest.mark.parametrize("path", ["../../../../etc/hostname", "/etc/hostname", "tables/../../x", "", "a\0b"])
def test_files_outside_the_checkpoint_are_not_read(checkpoint, path):
    rewrite(checkpoint, lambda content: content["dense"].update(path=path))
    assert "inside the checkpoint" in refuse(checkpoint, named="manifest.json")


def chunk_tensors(num_rows=4, dim=3):
    slots = {f"slot.{name}": torch.zeros(num_rows, dim) for name in ("exp_avg", "exp_avg_sq")}
    return {
        "ids": torch.arange(num_rows),
        "weights": torch.zeros(num_rows, dim),
        **slots,
        "meta": torch.zeros(num_rows, 3, dtype=torch.int32),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": None}, "holds tensors"),
        ({"more": torch.ones(1)}, "holds tensors"),
        ({"slot.exp_avg": None}, "holds tensors"),
        ({"weights": torch.zeros(4, 2)}, r"'weights' is float32 \[4, 2\], expected float32 \[4, 3\]"),
        ({"weights": torch.zeros(4, 3).double()}, "'weights' is float64"),
        ({"ids": torch.arange(5)}, r"'ids' is int64 \[5\]"),
        ({"ids": torch.arange(4).int()}, "'ids' is int32"),
        ({"meta": torch.zeros(4, 4, dtype=torch.int32)}, "'meta'"),
        ({"slot.exp_avg": torch.zeros(3, 3)}, r"'slot.exp_avg' is float32 \[3, 3\]"),
    ],
)
def test_wrong_tensors_under_a_right_checksum_are_refused(checkpoint, change, message):
    rewrite_chunk(checkpoint, {key: value for key, value in {**chunk_tensors(), **change}.items() if value is not None})
    found = refuse(checkpoint, named="user-00000.safetensors")
    with pytest.raises(CheckpointError, match=message):
        raise CheckpointError(found)
    with pytest.raises(CheckpointError, match=message):
        describe_checkpoint(checkpoint)


def rewrite_chunk(checkpoint, tensors):
    def change(content):
        file = content["stores"][0]["chunks"][0]["file"]
        (checkpoint / file["path"]).unlink()
        entry = write_tensors(checkpoint, file["path"], tensors)
        file.update(num_bytes=entry.num_bytes, crc32=entry.crc32)

    rewrite(checkpoint, change)


def test_right_tensors_under_a_right_checksum_are_accepted(checkpoint):
    rewrite_chunk(checkpoint, chunk_tensors())
    stores = new_stores()
    Saver(checkpoint.parent).load(checkpoint, stores)
    assert torch.equal(stores["group"].tables["user"].rows[3][0], torch.zeros(3))


@pytest.mark.parametrize(
    "tree", ['{"a": {"$tensor": "99"}}', '{"a": {"$other": 1}}', '{"$dict": [[[], 1]]}', '{"$int": 5}', "[]", "3", "{", '{"$float": "x"}']
)
def test_a_wrong_state_tree_under_a_right_checksum_is_refused(checkpoint, tree):
    (checkpoint / "state.json").write_text(tree)
    rewrite(checkpoint, lambda content: content["state_tree"].update(num_bytes=len(tree), crc32=zlib.crc32(tree.encode())))
    refuse(checkpoint, named="state.json")


def test_a_folder_that_is_no_checkpoint_says_what_to_name(tmp_path):
    assert "step-00001000" in refuse(tmp_path, named=tmp_path)
    assert "step-00001000" in refuse(tmp_path / "absent", named=tmp_path / "absent")

"""The MovieLens example: no history holds its future, the cuts are in time, and the whole runs on a slice of the real data."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pyarrow import parquet

from sparrow import knobs
from sparrow.errors import ConfigError

USERS, MOVIES = 6, 9
GENRES = ["Drama", "Action Sci-Fi", "Comedy Children's Animation"]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("movielens_din", Path(__file__).parents[2] / "examples" / "movielens_din.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_movielens(folder: Path, num_ratings: int) -> list[tuple[int, int, int, int]]:
    """Write files like the real ones; return (user, item, stars, second) of the ratings, many of them in one second."""
    folder.mkdir()
    random = np.random.default_rng(0)
    kinds = [random.integers(1, 1 + bound, num_ratings).tolist() for bound in (USERS, MOVIES, 5)]
    ratings = list(zip(*kinds, random.integers(880_000_000, 880_000_000 + num_ratings // 2, num_ratings).tolist(), strict=True))
    ratings = list({(user, item): (user, item, stars, second) for user, item, stars, second in ratings}.values())
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float", *("\t".join(map(str, row)) for row in ratings)]
    (folder / "ml-100k.inter").write_text("\n".join(lines) + "\n")
    movies = [f'{m}\tMovie "{m}\t{"V" if m == 4 else 1980 + m}\t{GENRES[m % 3]}' for m in range(1, MOVIES + 1)]
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    (folder / "ml-100k.item").write_text("\n".join([header, *movies]) + "\n")
    users = [f"{u}\t{20 + u}\t{'MF'[u % 2]}\twriter\t0{u}" for u in range(1, USERS + 1)]
    (folder / "ml-100k.user").write_text(
        "\n".join(["user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token", *users]) + "\n"
    )
    return ratings


def test_a_history_is_what_the_user_rated_in_earlier_seconds(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "KEPT", 3)
    ratings = write_movielens(tmp_path / "source", 60)
    example.prepare(tmp_path / "source", tmp_path / "data")
    parts = [parquet.read_table(tmp_path / "data" / f"{name}.parquet").to_pylist() for name in example.PARTS]
    rows = [row for part in parts for row in part]
    assert {(row["user"], row["item"]) for row in rows} == {(user, item) for user, item, *_ in ratings}
    assert len(rows) == len(ratings)
    second_of = {(user, item): (stars, second) for user, item, stars, second in ratings}
    num_ties = 0
    for row in rows:
        stars, now = second_of[row["user"], row["item"]]
        assert (row["label"], row["timestamp"]) == (int(stars >= 4), now)
        assert row["genres"] == GENRES[row["item"] % 3].split()
        assert row["year"] == (0 if row["item"] == 4 else 1980 + row["item"])
        assert (row["age"], row["gender"]) == (20 + row["user"], "MF"[row["user"] % 2])
        before = sorted((second, item, stars) for user, item, stars, second in ratings if user == row["user"] and second < now)
        num_ties += sum(user == row["user"] and second == now for user, _, _, second in ratings) - 1
        expected = before[-3:]
        assert row["past_item"] == [item for _, item, _ in expected]
        assert row["past_stars"] == [stars for *_, stars in expected]
        assert row["past_timestamp"] == [second for second, *_ in expected]
        assert row["past_genres"] == [GENRES[item % 3].split() for _, item, _ in expected]
    assert num_ties > 0


def test_parts_follow_each_other_in_time(example: ModuleType, tmp_path: Path) -> None:
    num_rows = len(write_movielens(tmp_path / "source", 60))
    example.prepare(tmp_path / "source", tmp_path / "data")
    times = [parquet.read_table(tmp_path / "data" / f"{name}.parquet")["timestamp"].to_pylist() for name in example.PARTS]
    assert sum(map(len, times)) == num_rows
    # No second is in two parts.
    assert max(times[0]) < min(times[1])
    assert max(times[1]) < min(times[2])
    assert abs(len(times[0]) - 0.7 * num_rows) < 5


def test_data_is_prepared_once(example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_movielens(tmp_path / "source", 60)
    for expected in ("made in", "already there"):
        example.prepare(tmp_path / "source", tmp_path / "data")
        assert expected in capsys.readouterr().out
    mark = tmp_path / "data" / "prepared.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "kept": 7}))
    example.prepare(tmp_path / "source", tmp_path / "data")
    assert "made in" in capsys.readouterr().out


def test_absent_data_is_said(example: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{tmp_path} has no ml-100k.inter, ml-100k.item, ml-100k.user; give the folder .*SPARROW_DATA"):
        example.prepare(tmp_path, tmp_path / "data")


@pytest.mark.parametrize(
    ("differences", "says"),
    [
        ([0.01, 0.011, 0.009], "beats mean pooling: +0.0100"),
        ([-0.01, -0.011, -0.009], "loses to mean pooling: -0.0100"),
        ([0.01, 0.011, -0.001], "does not differ clearly from mean pooling"),
        ([0.01, 0.0001, 0.0001], "does not differ clearly from mean pooling"),
        ([0.01, 0.004, 0.007], "does not differ clearly from mean pooling"),  # the interval of three: 4.3 * 0.003 / sqrt(3) = 0.0074
        ([0.01, 0.005, 0.0076], "beats mean pooling"),  # 4.3 * 0.0025 / sqrt(3) = 0.0062
        ([0.01], "does not differ clearly from mean pooling"),
    ],
)
def test_a_difference_counts_where_it_exceeds_the_spread(example: ModuleType, differences: list[float], says: str) -> None:
    assert says in example.verdict("DIN", "mean pooling", differences)


def test_a_slice_of_the_real_data_runs(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = knobs.data_folder() / "ml-100k"
    if not source.exists():
        pytest.skip(f"{source} is absent: the example ran on no real data (SPARROW_DATA names the folder of data sets)")
    (tmp_path / "source").mkdir()
    for name in example.FILES:
        lines = (source / name).read_text().splitlines(keepends=True)
        if name == "ml-100k.inter":
            lines = [lines[0], *sorted(lines[1:], key=lambda line: int(line.split("\t")[3]))[:4000]]
        (tmp_path / "source" / name).write_text("".join(lines))
    monkeypatch.setattr(example, "SEEDS", (1, 2))
    monkeypatch.setattr(example, "SCHEDULE", dict.fromkeys(example.MODELS, (1, 1e-3, 0.5)))
    monkeypatch.setattr(example.sys, "argv", ["movielens_din.py", str(tmp_path / "source"), str(tmp_path / "work")])
    example.main()
    out = capsys.readouterr().out
    assert "first 70% to train on" in out
    for name in example.MODELS:
        assert f"   {name}  " in out
    assert out.count("seed by seed") == 4
    again = example.train_and_evaluate("DIN", 1, tmp_path / "work" / "data", "test")
    assert again == example.train_and_evaluate("DIN", 1, tmp_path / "work" / "data", "test")
    assert again["num_samples"] == parquet.read_metadata(tmp_path / "work" / "data" / "test.parquet").num_rows
    assert 0 < again["gauc"] < 1

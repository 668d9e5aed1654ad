"""Reading rated texts: small files in the layout of the real ones."""

import io
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from data import movie_reviews
from data.movie_reviews import (
    RatedText,
    assign_panels,
    clean_text,
    count_rated_texts,
    join_rated_texts,
    load_rated_texts,
)
from data.pip_archive import PinnedArchive, sha256_of
from data.snippets import split_by_review

from textrl_env.errors import InputError

TEXTS = ["1_1\t1.5\tA fine film.", "1_2\t-0.333333333\tWell ...", "2_1\t0\tÉlan, of a sort."]
RATINGS = ["1_1\t1.5\t0.5\t[1, 2]", "1_2\t-0.333\t1.2\t[-2, 0, 1]", "2_1\t0.0\t0.0\t[0]"]


def write(folder: Path, texts: list[str], ratings: list[str], *, bom: bool = False) -> tuple[Path, Path]:
    paths = folder / "x_GroundTruth.txt", folder / "x_anonDataRatings.txt"
    for path, lines in zip(paths, (texts, ratings), strict=True):
        path.write_bytes(("\r\n".join(lines)).encode("utf-8-sig" if bom else "utf-8"))
    return paths


def rated_texts(n: int, per_review: int = 1) -> list[RatedText]:
    return [RatedText(f"{i // per_review}_{i % per_review}", f"text number {i}", (i % 5, 1)) for i in range(n)]


@pytest.mark.parametrize("bom", [False, True])
def test_files_are_joined_by_id_not_by_row(tmp_path: Path, bom: bool) -> None:
    rated = join_rated_texts(*write(tmp_path, TEXTS, RATINGS[::-1], bom=bom))
    assert [(item.id, item.ratings) for item in rated] == [("1_1", (1, 2)), ("1_2", (-2, 0, 1)), ("2_1", (0,))]
    assert [item.text for item in rated] == ["A fine film.", "Well ...", "Élan, of a sort."]
    assert [item.review for item in rated] == ["1", "1", "2"]
    assert rated[0].mean == 1.5


@pytest.mark.parametrize(
    ("row", "line", "message"),
    [
        (2, "1_2\t-0.333333333", r"x_GroundTruth.txt:2: expected 3 tab-separated columns"),
        (2, "1_1\t1.5\tAgain.", r"x_GroundTruth.txt:2: id '1_1' was seen before"),
        (3, "9_9\t0\tUnknown.", r"x_GroundTruth.txt:3: id '9_9' has no ratings in x_anonDataRatings.txt"),
        (1, "1_1\t1.5\t  ", r"x_GroundTruth.txt:1: the text of id '1_1' is empty"),
        (1, "1_1\thigh\tA.", r"x_GroundTruth.txt:1: the mean must be a number from -4 to 4, got 'high'"),
        (1, "1_1\tnan\tA.", r"x_GroundTruth.txt:1: the mean must be a number"),
        (1, "1_1\t1.4\tA.", r"x_GroundTruth.txt:1: the mean is given as 1.4.*x_anonDataRatings.txt:1.*mean 1.500000"),
        (2, "", r"x_GroundTruth.txt:2: expected 3"),
    ],
)
def test_bad_text_rows_are_named(tmp_path: Path, row: int, line: str, message: str) -> None:
    texts = [*TEXTS]
    texts[row - 1] = line
    with pytest.raises(InputError, match=message):
        join_rated_texts(*write(tmp_path, texts, RATINGS))


@pytest.mark.parametrize("ratings", ["[1, 5]", "[]", "[1.5]", "[true]", "1, 2", "[1, 2", '["1"]', "{}", "[NaN]"])
def test_bad_ratings_are_named(tmp_path: Path, ratings: str) -> None:
    rows = [RATINGS[0], f"1_2\t0\t0\t{ratings}", RATINGS[2]]
    with pytest.raises(InputError, match=r"x_anonDataRatings.txt:2: ratings must be a list of whole numbers") as error:
        join_rated_texts(*write(tmp_path, TEXTS, rows))
    assert ratings in str(error.value)


def test_ratings_without_a_text_and_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x_anonDataRatings.txt:2: id '1_2' has no text in x_GroundTruth.txt"):
        join_rated_texts(*write(tmp_path, [TEXTS[0], TEXTS[2]], RATINGS))
    with pytest.raises(InputError, match=r"x_anonDataRatings.txt:4: id '1_1' was seen before"):
        join_rated_texts(*write(tmp_path, TEXTS, [*RATINGS, RATINGS[0]]))


def test_not_utf8_names_the_row(tmp_path: Path) -> None:
    texts, ratings = write(tmp_path, TEXTS, RATINGS)
    texts.write_bytes("\r\n".join(TEXTS).encode("latin-1"))
    with pytest.raises(InputError, match=r"x_GroundTruth.txt:3: not UTF-8"):
        join_rated_texts(texts, ratings)


def test_wrong_means_can_be_left_out(tmp_path: Path) -> None:
    texts = [TEXTS[0], "1_2\t0.5\tWell ...", TEXTS[2]]
    rated = join_rated_texts(*write(tmp_path, texts, RATINGS), drop_wrong_means=True)
    assert [item.id for item in rated] == ["1_1", "2_1"]


def test_texts_are_cleaned() -> None:
    assert clean_text("  a great film    rowdy, and  brawny ") == "a great film - rowdy, and brawny"
    assert clean_text("''Conan'' isn't S&amp;M, at &amp;#38; t") == '"Conan" isn\'t S&M, at & t'
    assert clean_text("no\u00a0break\tand   \u2013   more") == "no break and - \u2013 - more"
    for text in ("A fine film.", "it's ... 'so-so'", "Élan \u2013 ½"):
        assert clean_text(text) == text


def test_panels_are_runs_of_texts_with_equally_many_ratings() -> None:
    rated = [RatedText(str(i), f"t{i}", (0,) * (2 if i < 3 else 4)) for i in range(5)]
    assert [item.panel for item in assign_panels(rated, texts_per_panel=3)] == [0, 0, 0, 1, 1]
    with pytest.raises(InputError, match="texts 2 to 3 must have the same number"):
        assign_panels(rated, texts_per_panel=2)


@pytest.mark.parametrize("seed", range(5))
def test_split_keeps_reviews_and_repeated_texts_together(seed: int) -> None:
    rated = rated_texts(60, per_review=3)
    rated[40] = replace(rated[40], text="  A pretentious MESS! ")
    rated[2] = replace(rated[2], text="...a pretentious mess...")
    train, heldout = split_by_review(rated, heldout_fraction=0.3, seed=seed)
    assert {item.id for item in train} | {item.id for item in heldout} == {item.id for item in rated}
    assert not {item.review for item in train} & {item.review for item in heldout}
    assert len({(item in train) for item in (rated[40], rated[2])}) == 1
    assert 18 <= len(heldout) <= 23 and len(train) + len(heldout) == 60
    assert [rated.index(item) for item in train] == sorted(rated.index(item) for item in train)


def test_split_is_the_seeds_alone() -> None:
    rated = rated_texts(50)
    first = split_by_review(rated, heldout_fraction=0.2, seed=1)
    assert first == split_by_review(rated, heldout_fraction=0.2, seed=1)
    assert first != split_by_review(rated, heldout_fraction=0.2, seed=2)


def test_split_refuses_what_it_cannot_do() -> None:
    for fraction in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match="heldout_fraction"):
            split_by_review(rated_texts(10), heldout_fraction=fraction, seed=0)
    with pytest.raises(InputError, match="one side would be empty"):
        split_by_review(rated_texts(4, per_review=4), heldout_fraction=0.5, seed=0)


def fake_distribution(folder: Path, texts: list[str], ratings: list[str]) -> Path:
    """A source distribution with the data's archive inside, as the real one has it."""

    def tar_of(members: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    stem = "hutto_ICWSM_2014/amazonReviewSnippets"
    inner = {f"{stem}_GroundTruth.txt": texts, f"{stem}_anonDataRatings.txt": ratings}
    packed = tar_of({name: "\r\n".join(lines).encode() for name, lines in inner.items()})
    path = folder / "archives" / movie_reviews.ARCHIVE.filename
    path.parent.mkdir(parents=True)
    path.write_bytes(tar_of({"vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz": packed}))
    return path


def test_load_from_the_nested_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_distribution(tmp_path, TEXTS, RATINGS)
    monkeypatch.setattr(movie_reviews, "ARCHIVE", PinnedArchive("x", "1", path.name, sha256_of(path), 0.1))
    collections = {"amazon_reviews": replace(movie_reviews._COLLECTIONS["amazon_reviews"], n_texts=3)}
    monkeypatch.setattr(movie_reviews, "_COLLECTIONS", collections)
    rated = load_rated_texts("amazon_reviews", cache=tmp_path)
    assert count_rated_texts(rated) == {
        "texts": 3,
        "reviews": 2,
        "ratings": 6,
        "min_ratings": 1,
        "max_ratings": 3,
        "panels": 0,
    }
    collections["amazon_reviews"] = replace(collections["amazon_reviews"], n_texts=4)
    with pytest.raises(InputError, match="expected 4 texts, got 3"):
        load_rated_texts("amazon_reviews", cache=tmp_path)


def test_unknown_collection_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape("['movie_reviews', 'amazon_reviews', 'nyt_editorials', 'tweets']")):
        load_rated_texts("books", cache=tmp_path)

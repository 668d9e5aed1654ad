"""Film-review snippets with the individual scores of human raters (Hutto & Gilbert, ICWSM 2014, the VADER paper).

The source distribution of `vaderSentiment` 3.3.2 (MIT licence) carries the study's data: for every text an id, and the
whole-number scores that 15 to 99 people gave it, from -4 (extremely negative) to 4 (extremely positive). Four
collections, with what the files really hold (the README inside says otherwise on some points):

| collection | texts | ratings | ids | raters |
|---|---|---|---|---|
| movie_reviews | 10,605 | 198,810 | `1` ... `10605` | 15 to 29 a text; panels of 30 texts |
| amazon_reviews | 3,708 | 74,160 | `review_sentence`, 300 reviews | 20 a text |
| nyt_editorials | 5,190 | 103,800 | `article_sentence`, 498 articles | 20 a text |
| tweets | 4,001 of 4,200 | 140,663 | `1` ... `4200` | 20 to 99 a text |

- **Film reviews carry no review id.** They are the Rotten Tomatoes snippets of Pang & Lee (2005), one per review, the
  first half from positive reviews, the second from negative ones. Several snippets can be about one film; which, the
  data does not say.
- **Panels.** In movie_reviews each run of 30 ids was rated by one group of people, and the j-th score of each of its
  texts is from the same person: neighbouring texts' scores, less each text's mean, correlate 0.37 position by position
  inside a run and -0.05 across its border, and each of the 354 runs shows it by itself (against shuffled scores, z >
  4.7). Nothing of the kind shows in the other collections. `RatedText.panel` says which texts share their raters. This
  is our inference from the numbers; the authors do not document it.
- **Tweets.** 199 of them have a mean that is not the mean of their scores (off by up to 1.1); they are left out.
"""

import html
import json
import logging
import math
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.pip_archive import PinnedArchive, fetch, unpack
from textrl_env.errors import InputError

logger = logging.getLogger(__name__)

ARCHIVE = PinnedArchive(
    name="vaderSentiment",
    version="3.3.2",
    filename="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    size_mb=2.5,
)
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_INNER_FOLDER = "hutto_ICWSM_2014"
_MAX_BYTES = 16 << 20
_LOWEST, _HIGHEST = -4, 4
_MEAN_TOLERANCE = 1e-6
_PANEL_TEXTS = 30


@dataclass(frozen=True)
class RatedText:
    """One text and what each of its raters gave it."""

    id: str
    text: str
    ratings: tuple[int, ...]
    """One whole number from -4 to 4 per rater."""
    panel: int | None = None
    """Texts of one panel have the same raters in the same order; None where that is not known."""

    @property
    def mean(self) -> float:
        return sum(self.ratings) / len(self.ratings)

    @property
    def review(self) -> str:
        """The review or article the text is a sentence of: the id up to `_`. A flat id is a review of its own."""
        return self.id.split("_", 1)[0]


@dataclass(frozen=True)
class _Collection:
    stem: str
    n_texts: int
    drop_wrong_means: bool = False
    has_panels: bool = False


_COLLECTIONS = {
    "movie_reviews": _Collection("movieReviewSnippets", 10_605, has_panels=True),
    "amazon_reviews": _Collection("amazonReviewSnippets", 3_708),
    "nyt_editorials": _Collection("nytEditorialSnippets", 5_190),
    "tweets": _Collection("tweets", 4_001, drop_wrong_means=True),
}
COLLECTIONS = tuple(_COLLECTIONS)


def load_rated_texts(collection: str = "movie_reviews", *, cache: Path | None = None) -> list[RatedText]:
    """Loads the texts of one collection with their individual ratings, in the order of the file; downloads 2.5 MB once.

    Args:
        collection: one of `COLLECTIONS`.
        cache: cache folder; default `data.pip_archive.cache_folder()`.
    """
    if collection not in _COLLECTIONS:
        raise InputError(f"collection must be one of {list(COLLECTIONS)}, got {collection!r}")
    about = _COLLECTIONS[collection]
    archive = fetch(ARCHIVE, cache=cache)
    names = [f"{_INNER_FOLDER}/{about.stem}_{kind}.txt" for kind in ("GroundTruth", "anonDataRatings")]
    with tempfile.TemporaryDirectory(prefix="textrl-env-") as temporary:
        (inner,) = unpack(archive, [_INNER], Path(temporary), max_bytes=_MAX_BYTES)
        ground_truth, ratings = unpack(inner, names, Path(temporary), max_bytes=_MAX_BYTES)
        rated = join_rated_texts(ground_truth, ratings, drop_wrong_means=about.drop_wrong_means)
    if len(rated) != about.n_texts:
        raise InputError(f"{collection}: expected {about.n_texts} texts, got {len(rated)}; delete {archive}, try again")
    if about.has_panels:
        rated = assign_panels(rated, texts_per_panel=_PANEL_TEXTS)
    logger.info("%s: %s", collection, count_rated_texts(rated))
    return rated


def join_rated_texts(ground_truth: Path, ratings: Path, *, drop_wrong_means: bool = False) -> list[RatedText]:
    """Joins a GroundTruth file (id, mean, text) with its anonDataRatings file (id, mean, std, list) by id.

    Args:
        ground_truth, ratings: tab-separated UTF-8 files, with or without a byte order mark.
        drop_wrong_means: leave out texts whose stated mean is not the mean of their ratings, instead of an error.

    Raises:
        InputError: naming the file and the row.
    """
    scores = _read_ratings(ratings)
    rated: dict[str, RatedText] = {}
    wrong_means: set[str] = set()
    for row, (text_id, mean, raw) in _rows(ground_truth, "id, mean, text", 3):
        where = f"{ground_truth.name}:{row}"
        if text_id in rated:
            raise InputError(f"{where}: id {text_id!r} was seen before; ids must be unique")
        if text_id not in scores:
            raise InputError(f"{where}: id {text_id!r} has no ratings in {ratings.name}")
        text = clean_text(raw)
        if not text:
            raise InputError(f"{where}: the text of id {text_id!r} is empty")
        line, values = scores[text_id]
        rated[text_id] = item = RatedText(id=text_id, text=text, ratings=values)
        # Not `abs(...) > tolerance`: a mean that reads "nan" must not pass.
        if not abs(_parse_mean(where, mean) - item.mean) <= _MEAN_TOLERANCE:
            if not drop_wrong_means:
                raise InputError(
                    f"{where}: the mean is given as {mean}, but the ratings of id {text_id!r} "
                    f"({ratings.name}:{line}) have the mean {item.mean:.6f}"
                )
            wrong_means.add(text_id)
    _require_texts(ground_truth, ratings, scores, rated)
    if wrong_means:
        logger.info(
            "%s: left out %d texts whose mean is not that of their ratings", ground_truth.name, len(wrong_means)
        )
    return [item for item in rated.values() if item.id not in wrong_means]


def _read_ratings(path: Path) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Returns each id's row in the file and its ratings."""
    scores: dict[str, tuple[int, tuple[int, ...]]] = {}
    for row, fields in _rows(path, "id, mean, standard deviation, list of ratings", 4):
        if fields[0] in scores:
            raise InputError(f"{path.name}:{row}: id {fields[0]!r} was seen before; ids must be unique")
        scores[fields[0]] = (row, _parse_ratings(path, row, fields[3]))
    return scores


def _require_texts(
    ground_truth: Path, ratings: Path, scores: dict[str, tuple[int, tuple[int, ...]]], rated: dict[str, RatedText]
) -> None:
    if missing := [text_id for text_id in scores if text_id not in rated]:
        row = scores[missing[0]][0]
        raise InputError(
            f"{ratings.name}:{row}: id {missing[0]!r} has no text in {ground_truth.name} ({len(missing)} such ids)"
        )


def clean_text(text: str) -> str:
    """Undoes what the study's own preparation did to the texts.

    HTML entities (some were escaped twice) become characters, `''` becomes `"`, three or more spaces (a dash that was
    blanked out) become ` - `, every other run of white space one space.
    """
    text = html.unescape(html.unescape(text)).replace("''", '"').strip()
    text = re.sub(r"(?<=\S)[ \u00a0]{3,}(?=\S)", " - ", text)
    return re.sub(r"\s+", " ", text)


def assign_panels(rated: Sequence[RatedText], *, texts_per_panel: int) -> list[RatedText]:
    """Numbers consecutive runs of texts that share their raters; a run whose numbers of ratings differ is an error."""
    result = []
    for start in range(0, len(rated), texts_per_panel):
        run = rated[start : start + texts_per_panel]
        if len({len(item.ratings) for item in run}) != 1:
            raise InputError(
                f"texts {run[0].id} to {run[-1].id} must have the same number of ratings to share their raters, "
                f"got {sorted({len(item.ratings) for item in run})}"
            )
        result += [replace(item, panel=start // texts_per_panel) for item in run]
    return result


def count_rated_texts(rated: Sequence[RatedText]) -> dict[str, int]:
    """Counts texts, reviews, ratings, the least and the most ratings of a text, and panels."""
    sizes = [len(item.ratings) for item in rated]
    return {
        "texts": len(rated),
        "reviews": len({item.review for item in rated}),
        "ratings": sum(sizes),
        "min_ratings": min(sizes, default=0),
        "max_ratings": max(sizes, default=0),
        "panels": len({item.panel for item in rated if item.panel is not None}),
    }


def _rows(path: Path, columns: str, n_columns: int) -> Iterable[tuple[int, list[str]]]:
    """Yields (row number from 1, fields) of a tab-separated file."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path.name}:{row}: not UTF-8 ({error.reason})") from error
    # Not splitlines(): it also splits at characters such as U+0085 inside a text.
    lines = content.replace("\r\n", "\n").rstrip("\n").split("\n")
    for row, line in enumerate(lines, start=1):
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != n_columns or not fields[0]:
            raise InputError(
                f"{path.name}:{row}: expected {n_columns} tab-separated columns ({columns}), got {len(fields)}: "
                f"{line[:80]!r}"
            )
        yield row, fields


def _parse_mean(where: str, field: str) -> float:
    try:
        mean = float(field)
    except ValueError:
        mean = math.nan
    if not _LOWEST <= mean <= _HIGHEST:
        raise InputError(f"{where}: the mean must be a number from {_LOWEST} to {_HIGHEST}, got {field!r}")
    return mean


def _parse_ratings(path: Path, row: int, field: str) -> tuple[int, ...]:
    try:
        values = json.loads(field)
    except ValueError:
        values = None
    # `type(...) is int`: JSON's true would pass isinstance(..., int).
    whole = isinstance(values, list) and all(type(value) is int for value in values)
    if not whole or not values or not _LOWEST <= min(values) <= max(values) <= _HIGHEST:
        raise InputError(
            f"{path.name}:{row}: ratings must be a list of whole numbers from {_LOWEST} to {_HIGHEST}, "
            f"got {field[:80]!r}"
        )
    return tuple(values)

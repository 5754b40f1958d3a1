"""The words of training cases: their own texts, or those that the dataset has for their labels."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cfbench.errors import DataError, SuiteError
from cfbench.protocols import Cases
from cfbench.specs import DatasetInfo

_CHUNK = 256


def texts_of(cases: Cases, data: DatasetInfo) -> tuple[str, ...]:
    """Return the text of every case: its own, or the words for its labels, joined by commas.

    A case whose labels have no words gets none. Raises SuiteError if the dataset has neither texts nor words.
    """
    if len(cases) == 0:
        raise DataError("there are no training cases: expected at least one in the split; check its sizes")
    if cases.batch([0]).text is None:
        return _told(cases, data)
    texts: list[str] = []
    for start in range(0, len(cases), _CHUNK):
        texts += cases.batch(range(start, min(start + _CHUNK, len(cases)))).text or ()
    return tuple(texts)


def _told(cases: Cases, data: DatasetInfo) -> tuple[str, ...]:
    if not any(data.prompts.values()):
        raise SuiteError(
            "text-ldm learns images with words, and this dataset has none: expected texts of its cases, or words for "
            "the values of its labels (`prompts`); use a dataset that has them, or another generator"
        )
    return label_words(cases, data)


def label_words(cases: Cases, data: DatasetInfo) -> tuple[str, ...]:
    """Return the dataset's words for each case's labels, joined by commas; nothing where it has none."""
    return tuple(", ".join(_words(cases, data, i)) for i in range(len(cases)))


def _words(cases: Cases, data: DatasetInfo, i: int) -> list[str]:
    """Return the words for one case's labels, in the dataset's order."""
    found = []
    for label, words in data.prompts.items():
        value = float(cases.labels[label][i]) if label in cases.labels else math.nan
        found += [words[value]] if words.get(value) else []
    return found


def mentions(text: str, words: str) -> bool:
    """Tell whether a text contains these words, whole and in this order; case and punctuation do not count."""
    return f" {_plain(words)} " in f" {_plain(text)} "


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def chosen(texts: Sequence[str], words: Sequence[str], leave_out: bool) -> list[int]:
    """Return the positions of the texts that mention any of these words, or (`leave_out`) none of them."""
    return [i for i, text in enumerate(texts) if any(mentions(text, w) for w in words) != leave_out]


def some_phrases(text: str, random: torch.Generator) -> str:
    """Return a random non-empty subset of a text's comma-separated phrases, in their order; each equally likely."""
    phrases = [phrase.strip() for phrase in text.split(",") if phrase.strip()]
    while phrases:
        kept = torch.rand(len(phrases), generator=random) < 0.5
        if kept.any():
            return ", ".join(phrase for phrase, keep in zip(phrases, kept.tolist(), strict=True) if keep)
    return text


@dataclass(frozen=True)
class Sayings:
    """What training cases can be told of: their texts, and the dataset's words for their labels."""

    texts: Sequence[str]
    words: Sequence[str]
    #: Share of the times that the words are told instead, where a case has any.
    share: float
    #: Whether random phrases are told instead of all of them.
    subsets: bool

    def prompt(self, i: int, random: torch.Generator) -> str:
        """Return what is told of case i this time."""
        told = bool(torch.rand((), generator=random) < self.share) and self.words[i]
        text = told or self.texts[i]
        return some_phrases(text, random) if self.subsets else text

"""Tokens of words: a vocabulary of the training's own words, or a BERT's; what is cut or unknown is told."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from cfbench_text_ldm.libraries import library

log = logging.getLogger(__name__)
#: In BERT's manner: a text stands between [CLS] and [SEP], and is filled up with [PAD].
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def word_tokenizer(texts: Iterable[str], length: int) -> Any:
    """Return a tokenizer whose vocabulary is the words and marks of these texts, in lower case, sorted."""
    parts = library("tokenizers")
    normal, split = parts.normalizers.Lowercase(), parts.pre_tokenizers.Whitespace()
    words = {word for text in texts for word, _ in split.pre_tokenize_str(normal.normalize_str(text))}
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *sorted(words)])}
    tokenizer = parts.Tokenizer(parts.models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer, tokenizer.pre_tokenizer = normal, split
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = parts.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    return library("transformers").PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, **names)


class Words:
    """A tokenizer at a fixed length. Texts are padded to it, cut beyond it, and given without an attention mask.

    The length is explicit because published tokenizers may have none (RadBERT's does not); the missing mask is what
    diffusers' training script of Stable Diffusion does.
    """

    def __init__(self, tokenizer: Any, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length
        self._told: dict[str, dict[str, object]] = {}

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "b l"]:
        """Return the token numbers of each text."""
        settings = {"padding": "max_length", "truncation": True, "max_length": self.length}
        return self.tokenizer(list(texts), return_tensors="pt", **settings)["input_ids"]

    def losses(self, text: str) -> dict[str, object]:
        """Return what the tokens of a text do not say: the part that was `cut`, the words that are `unknown`."""
        found = self.tokenizer(text, return_offsets_mapping=True)
        ids, spans = found["input_ids"], found["offset_mapping"]
        said = [(i, span) for i, span in zip(ids, spans, strict=True) if span[1] > span[0]]
        room = self.length - (len(ids) - len(said))
        lost: dict[str, object] = {}
        if len(said) > room:
            lost["cut"] = text[said[room][1][0] :]
        unknown = [text[a:b] for i, (a, b) in said[:room] if i == self.tokenizer.unk_token_id]
        return lost | ({"unknown": unknown} if unknown else {})

    def cut(self, texts: Iterable[str]) -> int:
        """Return how many of these texts are longer than the token length, and warn if any is."""
        texts = list(texts)
        n = sum("cut" in self.losses(text) for text in texts)
        if n:
            log.warning("text-ldm: %d of %d training texts are cut at %d tokens", n, len(texts), self.length)
        return n

    def report(self, texts: Iterable[str], folder: Path) -> None:
        """Warn once of each text that loses something, and keep all of them in `prompts.json` in the folder."""
        new = {text: lost for text in dict.fromkeys(texts) if text not in self._told and (lost := self.losses(text))}
        for text, lost in new.items():
            log.warning("text-ldm: of the prompt %r it does not read: %s", text, json.dumps(lost))
        self._told |= new
        if self._told and folder.is_dir():
            (folder / "prompts.json").write_text(json.dumps(self._told, indent=1), encoding="utf-8")

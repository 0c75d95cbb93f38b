"""Names that mean nothing one could point at; a model that is offered them draws boxes around everything."""

import re

_EMPTY = frozenset({
    "ignore", "ignored", "clutter", "background", "unknown", "unlabelled", "unlabeled", "void", "none", "null", "other",
    "nodata", "undefined", "unclassified", "unassigned", "unspecified", "invalid", "nothing",
})  # fmt: skip
_NO = frozenset({"no", "not", "non"})
_SAID = frozenset({  # `no data`, `not classified`; but `non land` may be water
    "data", "label", "labelled", "labeled", "class", "classified", "category", "value", "defined", "assigned", "known",
    "information",
})  # fmt: skip
_VAGUE = frozenset({
    "land", "cover", "landcover", "use", "area", "region", "ground", "surface", "pixel", "object", "thing", "type",
    "and", "or", "of", "the",
})  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the", "some", "several", "many"})


def key_of_name(text: str) -> str:
    """Return a name as words that compare: small letters, singular, without articles, remarks and numbers behind."""
    plain = re.sub(r"\([^)]{0,80}\)", " ", text.casefold())
    plain = re.sub(r"[\s_\-/]+", " ", re.sub(r"[^\w\s/-]", " ", plain)).strip()
    words = plain.split()
    while len(words) > 1 and words[-1].isdecimal():
        words.pop()
    while len(words) > 1 and words[0] in _ARTICLES:
        words.pop(0)
    return " ".join([*words[:-1], _singular(words[-1])]) if words else ""


def means_nothing(name: str) -> bool:
    """Tell whether all words of a name mean nothing: `Other land` does, `other buildings` and `bare land` do not.

    Words as `land` or `area` alone are names of classes; beside `other` or `unknown` they add nothing.
    """
    key = key_of_name(name) or key_of_name(re.sub(r"[()]", " ", name))
    words = {_singular(word) for word in key.split()}
    if key == "n a":
        return True
    empty = bool(words & _EMPTY) or bool(words & _NO and words & _SAID)
    return empty and words <= _EMPTY | _NO | _SAID | _VAGUE


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word

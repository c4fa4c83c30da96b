"""Answers are found by what was asked and by nothing else, and take no more memory than they may."""

import numpy as np
import pytest

from flowserve.core.engine.cache import ASKED_BYTES_MAX, ResponseCache, content_key

X = np.float32([1, 2, 3, 4])


def test_the_same_content_has_the_same_key():
    assert content_key({"x": X}, ("y",)) == content_key({"x": np.float32([1, 2, 3, 4])}, ("y",))
    strided = np.float32([1, 9, 2, 9, 3, 9, 4, 9])[::2]
    assert content_key({"x": X}, ("y",)) == content_key({"x": strided}, ("y",))
    assert content_key({"a": X, "b": X + 1}, ("y",)) == content_key({"b": X + 1, "a": X}, ("y",))


@pytest.mark.parametrize(
    ("feed", "outputs"),
    [
        ({"x": np.float32([1, 2, 3, 5])}, ("y",)),
        ({"x": X.reshape(2, 2)}, ("y",)),
        ({"x": X.view(np.int32)}, ("y",)),
        ({"z": X}, ("y",)),
        ({"x": X}, ("z",)),
        ({"x": X}, ("y", "z")),
        ({"x": X[:0]}, ("y",)),
        ({"x": np.float32(1)}, ("y",)),
        ({"x": np.array(["ab", "c"], object)}, ("y",)),
        ({"x": np.array(["a", "bc"], object)}, ("y",)),
    ],
)
def test_another_content_has_another_key(feed, outputs):
    assert content_key(feed, outputs) != content_key({"x": X}, ("y",))


def test_strings_are_told_apart():
    keys = {content_key({"x": np.array(texts, object)}, ()) for texts in (["ab", "c"], ["a", "bc"])}
    assert len(keys) == 2


def test_what_is_large_is_not_looked_up():
    assert content_key({"x": np.zeros(ASKED_BYTES_MAX, np.uint8)}, ()) is not None
    assert content_key({"x": np.zeros(ASKED_BYTES_MAX + 1, np.uint8)}, ()) is None


def test_what_was_not_asked_for_the_longest_time_goes():
    cache = ResponseCache(3 * 2000)
    for name in "abc":
        cache.put(name.encode(), [np.zeros(1500, np.uint8)])
    assert len(cache) == 3
    assert cache.get(b"a") is not None
    cache.put(b"d", [np.zeros(1500, np.uint8)])
    assert cache.get(b"b") is None
    assert all(cache.get(name) is not None for name in (b"a", b"c", b"d"))
    assert cache.bytes <= 6000


def test_what_would_not_fit_is_not_kept():
    cache = ResponseCache(1000)
    cache.put(b"a", [np.zeros(10)])
    cache.put(b"b", [np.zeros(10_000)])
    assert (len(cache), cache.get(b"b")) == (1, None)
    cache.put(b"c", [np.array(["x" * 1000], object)])
    assert cache.get(b"c") is None


def test_what_is_kept_is_its_own_and_cannot_be_changed():
    cache = ResponseCache(10_000)
    batch = np.arange(4.0)
    cache.put(b"a", [batch[:2]])
    batch[:] = 0
    (kept,) = cache.get(b"a")
    assert kept.tolist() == [0, 1]
    assert kept.base is None
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 5

import pytest

from flowrun.shell.host.shortage import code_of, wanted_mb


def error_of(raiser):
    try:
        raiser()
    except BaseException as error:
        return error


def of_torch(message, name="OutOfMemoryError"):
    return type(name, (RuntimeError,), {"__module__": "torch"})(message)


def wrap(inner, hide=False):
    def raiser():
        try:
            raise inner
        except BaseException:
            if hide:
                raise ValueError("it did not work") from None
            raise ValueError("it did not work")  # noqa: B904

    return error_of(raiser)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "FR213"),
        (error_of(lambda: bytearray(1 << 62)), "FR213"),
        (of_torch("CUDA out of memory. Tried to allocate 20.00 GiB."), "FR216"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ..."), "FR216"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "FR216"),
        (wrap(MemoryError()), "FR213"),
        (wrap(of_torch("no")), "FR216"),
        (wrap(MemoryError(), hide=True), ""),
        (RuntimeError("out of memory, said the elephant"), ""),
        (ValueError("CUDA out of memory"), ""),
        (type("OutOfMemoryError", (Exception,), {"__module__": "mine"})(), ""),
        (KeyError("a"), ""),
    ],
)
def test_what_it_was(error, code):
    assert code_of(error) == code


def test_an_error_that_is_its_own_cause():
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert code_of(one) == ""


def test_how_much_was_wanted():
    np = pytest.importorskip("numpy")
    assert wanted_mb(error_of(lambda: np.zeros(1 << 50, np.uint8))) == 1 << 30
    assert wanted_mb(wrap(error_of(lambda: np.zeros(1 << 50, np.uint8)))) == 1 << 30
    assert wanted_mb(MemoryError()) == wanted_mb(KeyError()) == 0

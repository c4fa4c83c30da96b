"""Every diagnostic code has a page in `docs/errors`, and every page is true: see `error_pages.py`."""

import fcntl
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from flowc.plan.codes import CODES

_spec = importlib.util.spec_from_file_location("error_pages", Path(__file__).with_name("error_pages.py"))
error_pages = sys.modules["error_pages"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(error_pages)

# Codes whose page is prose only, and why nothing on a command line provokes them.
NOT_YET_SHOWN: dict[str, str] = {
    "FS109": "a process of the server ends by itself only where onnxruntime crashes",
    "FR158": "the extras are installed where the pages are tested",
    "FS290": "the extra is installed where the pages are tested",
    "FR209": "a preempted node goes on by itself: no command fails by it",
    "FR218": "a node that comes too late waits: no command fails by it",
    "FS220": "it takes a model that is overloaded, and a thousand clients",
    "FS221": "it takes a model that is overloaded",
    "FS240": "it takes half a gigabyte of requests",
}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def address(models):
    with error_pages.serving(models) as address:
        yield address


@pytest.fixture(scope="session")
def port(tmp_path_factory):
    """Whoever holds it has port 8000 to itself, where servers listen that are told of no other."""
    with open(tmp_path_factory.getbasetemp().parent / "port", "w") as file:
        yield file


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_page_shows_what_happens(code, tmp_path, models, port, request):
    text = read(code)
    # The models are there once the server is.
    address = request.getfixturevalue("address") if code.startswith("FS") else ""
    error_pages.prepare(tmp_path / code, code, models)
    page = error_pages.Page(text, tmp_path / code, address)
    if "flowserve start" in text:
        fcntl.flock(port, fcntl.LOCK_EX)
    try:
        page.perform()
    finally:
        fcntl.flock(port, fcntl.LOCK_UN)
    for exchange in page.exchanges:
        where = f"docs/errors/{code}.md:{exchange.line}"
        assert exchange.fits, (
            f"{where}\n{exchange.asked}--- the page shows\n{exchange.expected}--- came\n{exchange.answered}"
        )
        refused = re.search(r"error\[F\w\d+\]|\[F\w\d+\] ", exchange.expected) is not None
        assert exchange.succeeded is not refused, f"{where}: {exchange.asked}{exchange.answered}"
    shown = [exchange.expected for exchange in page.exchanges if not exchange.succeeded]
    if code in NOT_YET_SHOWN:
        assert not shown, f"{code} is shown now: take it off NOT_YET_SHOWN"
    else:
        assert any(f"[{code}]" in text for text in shown)


def test_the_page_on_caching_shows_what_happens(tmp_path):
    text = (error_pages.PAGES.parent / "caching.md").read_text(encoding="utf-8")
    page = error_pages.Page(text, tmp_path)
    page.perform()
    assert [(exchange.asked, exchange.answered) for exchange in page.exchanges if not exchange.fits] == []


def test_the_tour_of_types_shows_what_happens(tmp_path):
    text = (error_pages.PAGES.parent / "types.md").read_text(encoding="utf-8")
    page = error_pages.Page(text, tmp_path)
    page.perform()
    assert [exchange.answered for exchange in page.exchanges if not exchange.fits] == []
    assert [exchange.succeeded for exchange in page.exchanges] == [True, True, False, True]


def test_the_page_on_sharing_shows_what_happens(tmp_path):
    text = (error_pages.PAGES.parent / "sharing.md").read_text(encoding="utf-8")
    page = error_pages.Page(text, tmp_path)
    page.perform()
    assert [exchange.answered for exchange in page.exchanges if not exchange.fits] == []
    assert [exchange.succeeded for exchange in page.exchanges] == [True]


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_page_is_headed_by_its_line_in_the_registry(code):
    assert error_pages.title(read(code)) == f"# {code}: {CODES[code]}"


def test_there_is_no_page_without_a_code():
    pages = {path.stem for path in error_pages.PAGES.iterdir()} - {"README"}
    assert pages == set(CODES)


def test_the_readme_lists_every_code():
    readme = read("README")
    listed = dict(re.findall(r"^\| \[(F\w\d+)\]\(\1\.md\) \| (.*) \|$", readme, re.MULTILINE))
    assert listed == CODES


def test_no_page_names_a_folder_of_some_machine():
    for path in error_pages.PAGES.iterdir():
        found = re.findall(r"/(?:home|root|tmp|work|usr|opt|Users)/\S*|site-packages", path.read_text())
        assert not found, path.name


def read(code):
    path = error_pages.PAGES / f"{code}.md"
    assert path.is_file(), f"there is no page for {code}"
    return path.read_text(encoding="utf-8")

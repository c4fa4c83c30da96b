import hashlib
import subprocess
import sys

import pytest

from flowc.plan.lean import sha256

pytest.importorskip("typing_extensions")


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_msgspec_comes_alone_and_can_do_the_same():
    code = (
        "import sys; from flowc.plan.lean import import_msgspec; import_msgspec(); import msgspec\n"
        "print('inspect' in sys.modules, msgspec.json.decode(b'[1]', type=list[int]), end=' ')\n"
        "import typing_extensions; print(typing_extensions.TypedDict.__module__ != '')"
    )
    assert run(code) == "False [1] True"


def test_uuids_and_the_platform_are_as_ever():
    code = (
        "import sys; from flowc.plan.lean import import_msgspec; import_msgspec()\n"
        "print('platform' in sys.modules, end=' ')\n"
        "import platform, uuid, msgspec; made = uuid.uuid1()\n"
        "read = msgspec.json.decode(msgspec.json.encode(made), type=uuid.UUID)\n"
        "print(platform.system() != '', read == made)"
    )
    assert run(code) == "False True True"


def test_who_has_typing_extensions_keeps_it():
    code = (
        "import sys, typing_extensions as before; from flowc.plan.lean import import_msgspec\n"
        "import_msgspec(); print(sys.modules['typing_extensions'] is before)"
    )
    assert run(code) == "True"


def test_paths_are_as_ever():
    code = (
        "import sys; from flowc.plan.lean import import_pathlib; import_pathlib()\n"
        "print('urllib.parse' in sys.modules, end=' ')\n"
        "import pathlib; print(pathlib.Path('/a b').as_uri(), end=' ')\n"
        "from urllib.parse import quote; print(quote('ü'))"
    )
    assert run(code) == "False file:///a%20b %C3%BC"


def test_hashes_are_as_ever():
    assert sha256(b"flow").hexdigest() == hashlib.sha256(b"flow").hexdigest()

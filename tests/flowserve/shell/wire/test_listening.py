"""Sockets in the file system and on ports."""

import os
import socket
import stat

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.wire.addresses import Tcp, Unix
from flowserve.shell.wire.listening import address_of, only_this_host, remove_unix, reserve, url_of


def test_a_port():
    with reserve(Tcp("127.0.0.1", 0)) as listener:
        address = address_of(listener)
        assert isinstance(address, Tcp)
        assert address.port > 0
        assert url_of(listener, "http", tls=False) == f"http://127.0.0.1:{address.port}"
        assert url_of(listener, "grpc", tls=True) == f"grpcs://127.0.0.1:{address.port}"
        assert only_this_host(listener)


def test_every_address_of_the_host_is_beyond_it():
    with reserve(Tcp("0.0.0.0", 0)) as listener:
        assert not only_this_host(listener)


def test_a_unix_socket_is_for_owner_and_group(tmp_path):
    path = str(tmp_path / "s")
    with reserve(Unix(path)) as listener:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        assert address_of(listener) == Unix(path)
        assert url_of(listener, "http", tls=True) == f"http+unix:{path}"
        assert only_this_host(listener)


def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path):
    address = Unix(str(tmp_path / "s"))
    reserve(address).close()
    with reserve(address) as second:
        second.listen()
        with pytest.raises(Refused, match=r"\[FS104\].*already in use"):
            reserve(address)


def test_a_file_is_not_replaced(tmp_path):
    (tmp_path / "data").write_text("precious")
    with pytest.raises(Refused, match=r"\[FS104\].*already in use"):
        reserve(Unix(str(tmp_path / "data")))
    assert (tmp_path / "data").read_text() == "precious"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(Refused, match=r"\[FS104\].*no such file or directory"):
        reserve(Unix(str(tmp_path / "none" / "s")))


def test_only_the_own_socket_is_removed(tmp_path):
    address = Unix(str(tmp_path / "s"))
    with reserve(address):
        inode = os.stat(address.path).st_ino
        remove_unix(address, inode + 1)
        assert os.path.exists(address.path)
        remove_unix(address, inode)
        assert not os.path.exists(address.path)
        remove_unix(address, inode)
    remove_unix(Tcp("127.0.0.1", 1), 0)


def test_another_process_that_listens(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Refused, match="already in use") as caught:
            reserve(Tcp("127.0.0.1", port), "--grpc")
        assert caught.value.diagnostics[0].hint == "`--grpc 127.0.0.1:0` takes a free port"

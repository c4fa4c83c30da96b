"""Hosts as files and lines of text describe them, and what of that makes no sense."""

import pytest

from flowc.plan import hosts_file
from flowc.plan.diagnostics import Refused
from flowc.plan.host import Capacity, Cluster, Gpu


def gpus(count, name="H100", memory_mb=81920, link=0):
    return tuple(Gpu(i, name, memory_mb, link) for i in range(count))


class TestFile:
    def read(self, tmp_path, text):
        (tmp_path / "host.toml").write_text(text)
        return hosts_file.read_one(str(tmp_path / "host.toml"))

    def test_a_host_without_gpus(self, tmp_path):
        assert self.read(tmp_path, "cpus = 2.5\nmemory_mb = 100") == Capacity(2.5, 100)

    def test_groups_of_gpus_are_numbered_through(self, tmp_path):
        text = """
            cpus = 64
            memory_mb = 1048576
            [[gpus]]
            count = 2
            name = "A100"
            memory_mb = 81920
            [[gpus]]
            memory_mb = 16384
        """
        gpus = (Gpu(0, "A100", 81920), Gpu(1, "A100", 81920), Gpu(2, "GPU", 16384))
        assert self.read(tmp_path, text) == Capacity(64, 1048576, gpus)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "missing required field `cpus`"),
            ("cpus = 1", "missing required field `memory_mb`"),
            ("cpus = 0\nmemory_mb = 1", "must be above 0"),
            ("cpus = -1\nmemory_mb = 1", "must be above 0"),
            ("cpus = nan\nmemory_mb = 1", "must be above 0"),
            ("cpus = inf\nmemory_mb = 1", "must be above 0"),
            ("cpus = 1\nmemory_mb = -5", "must be above 0"),
            ("cpus = 1\nmemory_mb = 1.5", "Expected `int`, got `float`"),
            ('cpus = "many"\nmemory_mb = 1', "Expected `float`, got `str`"),
            ("cpus = 1\nmemory_mb = 1\ncores = 3", "unknown field `cores`"),
            ("cpus = 1\nmemory_mb = 1\n[[gpus]]\ncount = 0", "count at least 1"),
            ("cpus = 1\nmemory_mb = 1\n[[gpus]]\ncount = -3", "count at least 1"),
            ("cpus = 1\nmemory_mb = 1\n[[gpus]]\ncount = 99999999999", "count at least 1"),
            ("cpus = 1\nmemory_mb = 1\n[[gpus]]\nmemory_mb = -1", "cannot be below 0"),
            ("cpus = 1\nmemory_mb = 1\n[[gpus]]\nlink = 2", "`link` joins from 0 to all 1 GPUs"),
            ("cpus = 1\nmemory_mb = 1\n[resources]\nlicence = -1", "from 0 up of the resource `licence`"),
            ("cpus = 1\nmemory_mb = 1\n[resources]\nlicence = nan", "Expected `int`, got `float`"),
            ("cpus = 1\nmemory_mb = 1\ncount = 3", "`count` is of `[[hosts]]`"),
            ("hosts = []", "from 1 to 1,000,000 hosts"),
            ("[[hosts]]\ncpus = 1\nmemory_mb = 1\ncount = 0", "from 1 to 1,000,000 hosts"),
            ("[[hosts]]\ncpus = 1\nmemory_mb = 1\ncount = 1000000000", "from 1 to 1,000,000 hosts"),
            ("[[hosts]]\ncpus = -1\nmemory_mb = 1", "must be above 0"),
            ("cpus = 1\nmemory_mb = 99999999999999999999", "not valid"),
            ("cpus = ", "Invalid value"),
            ("\x00", "not valid"),
        ],
    )
    def test_what_makes_no_sense_fr111(self, tmp_path, text, why):
        with pytest.raises(Refused, match=r"\[FR111\] the device specification is not valid") as caught:
            self.read(tmp_path, text)
        assert why in str(caught.value)

    def test_a_file_that_is_no_text(self, tmp_path):
        (tmp_path / "host.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(Refused, match="FR111"):
            hosts_file.read_one(str(tmp_path / "host.toml"))

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(Refused, match=r"\[FR111\] cannot read"):
            hosts_file.read_one(str(tmp_path / "host.toml"))

    def test_links_join_so_many_of_a_group_and_resources_are_counted(self, tmp_path):
        text = """
            cpus = 4
            memory_mb = 10
            [[gpus]]
            count = 5
            link = 2
            [[gpus]]
            count = 2
            link = 2
            [resources]
            licence = 3
            connection = 20
        """
        host = self.read(tmp_path, text)
        assert [gpu.link for gpu in host.gpus] == [1, 1, 2, 2, 3, 4, 4]
        assert host.resources == (("connection", 20), ("licence", 3))

    def test_several_hosts_with_what_they_share(self, tmp_path):
        (tmp_path / "hosts.toml").write_text("""
            [resources]
            licence = 3
            [[hosts]]
            count = 44000
            cpus = 64
            memory_mb = 100
            [[hosts]]
            cpus = 8
            memory_mb = 50
            [hosts.resources]
            disk = 1
        """)
        cluster = hosts_file.read(str(tmp_path / "hosts.toml"))
        small = Capacity(8, 50, resources=(("disk", 1),))
        assert cluster == Cluster(((Capacity(64, 100), 44000), (small, 1)), (("licence", 3),))
        assert len(cluster.hosts) == 44001
        assert cluster.alone[1].resources == (("disk", 1), ("licence", 3))

    def test_a_run_has_one_host_fr113(self):
        with pytest.raises(Refused, match=r"\[FR113\]"):
            hosts_file.read_one("2 hosts: 4 cores, 1 GB")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("8xH100-80GB, 2x64 cores, 1 TiB", Capacity(128, 1024**2, gpus(8))),
        ("4 cores,16GB", Capacity(4, 16384)),
        ("0.5 CPUs, 512 MiB, RTX 4090 24 GB", Capacity(0.5, 512, gpus(1, "RTX 4090", 24576))),
        ("2 x A100-SXM4-40GB, 8 cores, 1gb", Capacity(8, 1024, gpus(2, "A100-SXM4", 40960))),
        ("2xH100-80GB linked, 8 cores, 1gb", Capacity(8, 1024, gpus(2, link=1))),
        ("2xT4, 8 cores, 1gb", Capacity(8, 1024, gpus(2, "T4", 0))),
        ("8 cores, 1gb, licence=2", Capacity(8, 1024, resources=(("licence", 2),))),
    ],
)
def test_a_line(text, host):
    assert hosts_file.read_one(text) == host


def test_a_line_of_several():
    found = hosts_file.read("3 hosts: 2xT4-16GB, 4 cores, 8 GB; 1 host: 1 core, 1 GB")
    assert found == Cluster(((Capacity(4, 8192, gpus(2, "T4", 16384)), 3), (Capacity(1, 1024), 1)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("8xH100-80GB", "does not say how many cores"),
        ("8 cores", "does not say how much memory"),
        ("-8 cores, 1 GB", "neither GPUs, cores, memory nor a named resource"),
        ("nan cores, 1 GB", "does not say how many cores"),
        ("8 cores, 1 GB, ???", "`???` says neither"),
        ("1000000000 hosts: 8 cores, 1 GB", "from 1 to 1,000,000 hosts"),
        ("99999999999xH100-80GB, 8 cores, 1 GB", "must count at least 1"),
        ("9999999999 cores, 1 GB", "must be above 0, and no more"),
        ("   ", "from 1 to 1,000,000 hosts"),
        ("absent", "does not say how many cores"),
    ],
)
def test_a_line_that_makes_no_sense_fr111(text, why):
    with pytest.raises(Refused, match=r"\[FR111\]") as caught:
        hosts_file.read(text)
    assert why in str(caught.value)


@pytest.mark.parametrize("text", ["licence=2, db=5", "host.toml"])
def test_resources_alone_are_those_of_the_host_that_there_is(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "host.toml").write_text("[resources]\nlicence = 2\ndb = 5\n")
    here = Capacity(3, 4096, gpus(1, "T4", 16384))
    found = hosts_file.read_one(text, lambda: here)
    assert found == Capacity(3, 4096, here.gpus, (("db", 5), ("licence", 2)))
    with pytest.raises(Refused, match="must be above 0"):
        hosts_file.read_one(text)

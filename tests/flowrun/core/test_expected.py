"""How long calls are going to take."""

from graphs import Run, host, plan

from flowrun.core.changes import Reorder
from flowrun.core.expected import Expected


def test_what_calls_of_a_site_took_counts_for_the_calls_to_come():
    run = Run("s[a] estimate=700\ns[b]\ns[c]", on=host(cpus=1), now=10_000)
    site = run["s[a]"].site
    assert run.state.expected.ms(site) == 700
    run.now = 12_000
    run.done("s[a]")
    assert run.state.expected.ms(site) == 2000
    run.now = 13_000
    run.fails("s[b]")
    assert run.state.expected.ms(site) == 2000
    run.now = 17_000
    run.done("s[c]")
    assert run.state.expected.ms(site) == 3000


class TestDrift:
    SITES = plan("a estimate=100\nb estimate=100").sites

    def drifted(self, *took_ms: int) -> Expected:
        expected = Expected()
        expected.reorder(Reorder(0, {"a": 0, "b": 100}, 200), self.SITES)
        for site, ms in zip(self.SITES, took_ms, strict=False):
            expected.took(site, ms)
        return expected

    def test_too_long_and_too_short_add_up(self):
        assert self.drifted(130, 60).drift_ms == 70

    def test_without_an_order_nobody_counts(self):
        expected = Expected()
        expected.took(self.SITES[0], 500)
        assert (expected.order, expected.drift_ms) == (None, 0)

    def test_a_new_order_begins_anew_with_what_was_measured(self):
        expected = self.drifted(130)
        expected.reorder(Reorder(200, {"b": 0}, 100), self.SITES)
        assert expected.drift_ms == 0
        expected.took(self.SITES[0], 130)
        assert expected.drift_ms == 0

    def test_an_empty_order_takes_it_back(self):
        expected = self.drifted(130)
        expected.reorder(Reorder(200), self.SITES)
        assert expected.order is None

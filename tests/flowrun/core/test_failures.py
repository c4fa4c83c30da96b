import msgspec
import pytest
from graphs import Run, host

from flowrun.core.changes import AnyChange, Exceeded, Retry
from flowrun.core.failures import MAX_LOSSES, RULES
from flowrun.core.model import Kind

WIDE = host(cpus=10, memory=16_000)
CRASH, TIMEOUT, LOST, PREEMPTED, MEMORY, HANG, GPU_MEMORY = (
    "FR202", "FR203", "FR207", "FR209", "FR213", "FR215", "FR216"
)  # fmt: skip


def test_every_kind_has_a_rule():
    kinds = {kind for part in Kind.__args__ for kind in getattr(part, "__args__", [part])}
    assert set(RULES) == kinds


class TestKinds:
    @pytest.mark.parametrize(
        ("code", "kind"),
        [("FR201", "error"), ("FR204", "error"), (CRASH, "crash"), (TIMEOUT, "timeout"), (HANG, "hang")],
    )
    def test_those_of_the_operators_own_doing_use_up_its_retries_together(self, code, kind):
        run = Run("a retries=2 backoff=0")
        run.fails("a", code)
        assert run["a"].retried == {kind: 1}
        run.fails("a", HANG)
        assert run.fails("a", code) == ["fail a", "finish failed"]

    def test_pauses_grow_with_failures_of_any_kind(self):
        run = Run("a retries=3 backoff=100")
        assert run.fails("a", CRASH) == ["retry a at 100 (crash)"]
        run.wake(100)
        assert run.fails("a") == ["retry a at 300"]

    def test_what_is_nobodys_fault_uses_up_none_and_need_not_wait(self):
        run = Run("a retries=1 backoff=100")
        for _ in range(MAX_LOSSES):
            assert run.fails("a", LOST)[0] == "retry a at 0 (lost)"
        for _ in range(10):
            assert run.fails("a", PREEMPTED)[0] == "retry a at 0 (preempted)"
        assert run.fails("a", LOST) == ["fail a", "finish failed"]


class TestChoosing:
    """`retry_on` says which kinds are worth another attempt."""

    def test_kinds_that_are_not_chosen_are_final(self):
        run = Run("a retries=9 backoff=0 retry_on=crash,hang")
        assert run.fails("a", CRASH)[0] == "retry a at 0 (crash)"
        assert run.fails("a", HANG)[0] == "retry a at 0 (hang)"
        assert run.fails("a", "FR201") == ["fail a", "finish failed"]

    def test_memory_is_one_of_them(self):
        assert Run("a retries=9 retry_on=crash").fails("a", MEMORY) == ["fail a", "finish failed"]
        assert Run("a retry_on=memory").fails("a", MEMORY)[0].startswith("retry a")

    def test_what_is_nobodys_fault_always_starts_again(self):
        run = Run("a retries=9 retry_on=crash")
        assert run.fails("a", LOST)[0] == "retry a at 0 (lost)"


class TestMemory:
    def test_it_is_tried_again_with_twice_its_request(self):
        run = Run("a memory=1000", on=WIDE)
        assert run.fails("a", MEMORY) == ["retry a at 0 (memory) with 2000 MB", "start a.2"]
        assert run["a"].placement.memory_mb == 2000
        assert run.fails("a", MEMORY) == ["retry a at 0 (memory) with 4000 MB", "start a.3"]

    def test_or_with_twice_what_it_was_seen_to_take(self):
        run = Run("a memory=1000", on=WIDE)
        assert run.fails("a", MEMORY, peak_mb=1500)[0] == "retry a at 0 (memory) with 3000 MB"
        assert run.fails("a", MEMORY, peak_mb=1500)[0] == "retry a at 0 (memory) with 6000 MB"

    def test_without_a_request_with_as_much_as_is_worth_an_attempt(self):
        assert Run("a", on=WIDE).fails("a", MEMORY, peak_mb=10)[0] == "retry a at 0 (memory) with 512 MB"

    def test_up_to_what_the_host_has(self):
        run = Run("a memory=9000", on=WIDE)
        assert run.fails("a", MEMORY)[0] == "retry a at 0 (memory) with 16000 MB"
        assert run.fails("a", MEMORY) == ["fail a", "finish failed"]
        failure = run["a"].failure
        assert failure.code == "FR214"
        assert failure.message == "it broke; it can have 16000 MB at most"
        assert "where there is more memory" in failure.hint

    def test_of_what_else_it_needs_too(self):
        """The host with most memory does not have the GPUs."""
        run = Run("a memory=9000 cpus=11", on=WIDE)
        assert run.opened == ["fail a", "finish failed"]

    def test_what_it_is_known_to_want_counts(self):
        run = Run("a memory=1000", on=WIDE)
        assert run.fails("a", MEMORY, peak_mb=500, wanted=1500)[0] == "retry a at 0 (memory) with 4000 MB"

    def test_what_wants_more_than_there_is_is_not_tried_again(self):
        run = Run("a memory=1000", on=WIDE)
        assert run.fails("a", MEMORY, wanted=16_001) == ["fail a", "finish failed"]
        assert run["a"].failure.message == "it broke; it can have 16000 MB at most"
        assert Run("a memory=1000", on=WIDE).fails("a", MEMORY, wanted=16_000)[0].endswith("with 16000 MB")

    def test_it_costs_no_retries(self):
        run = Run("a retries=1 backoff=0", on=WIDE)
        run.fails("a", MEMORY)
        assert run.fails("a", CRASH)[0] == "retry a at 0 (crash)"
        assert run.fails("a", MEMORY)[0] == "retry a at 0 (memory) with 1024 MB"
        assert run.fails("a", CRASH) == ["fail a", "finish failed"]
        assert run["a"].retried == {"memory": 2, "crash": 1}

    def test_it_waits_for_room(self):
        run = Run("a memory=6000\nb memory=6000", on=WIDE)
        assert run.fails("a", MEMORY) == ["retry a at 0 (memory) with 12000 MB"]
        assert run.done("b") == ["start a.2"]

    def test_what_fails_otherwise_afterwards_keeps_it(self):
        run = Run("a memory=1000 retries=1 backoff=0", on=WIDE)
        run.fails("a", MEMORY)
        run.fails("a", CRASH)
        assert run["a"].placement.memory_mb == 2000

    def test_in_a_cancelled_run_it_ends(self):
        run = Run("a", on=WIDE)
        run.cancel()
        assert run.fails("a", MEMORY) == ["cancel a", "finish cancelled"]


class TestGpuMemory:
    def test_a_share_grows_up_to_a_whole_gpu(self):
        run = Run("a gpus=1 gpu_memory=3000", on=host(gpus=[8000, 16_000]))
        assert run.fails("a", GPU_MEMORY)[0] == "retry a at 0 (memory) with 0 MB and 6000 MB a GPU"
        assert run.fails("a", GPU_MEMORY, gpu_peak_mb=7000)[0].endswith("14000 MB a GPU")
        assert run.fails("a", GPU_MEMORY)[0].endswith("16000 MB a GPU")
        assert run.fails("a", GPU_MEMORY) == ["fail a", "finish failed"]
        assert "it can have 16000 MB of each GPU at most" in run["a"].failure.message

    def test_of_models_that_will_do(self):
        run = Run("a gpus=2 gpu_memory=3000", on=host(gpus=[8000, 5000]))
        assert run.fails("a", GPU_MEMORY)[0].endswith("5000 MB a GPU")

    def test_what_had_its_gpus_whole_can_have_no_more(self):
        run = Run("a gpus=1", on=host(gpus=[8000]))
        assert run.fails("a", GPU_MEMORY) == ["fail a", "finish failed"]
        assert run["a"].failure.code == "FR214"
        assert "it had its GPUs to itself" in run["a"].failure.message


class TestExceeding:
    def test_what_takes_too_much_memory_is_ended_at_once(self):
        run = Run("a memory=1000", on=WIDE)
        assert run.exceeds("a", "memory", 1700) == ["kill a.1 memory by force"]
        assert run.fails("a", MEMORY) == ["retry a at 0 (memory) with 3400 MB", "start a.2"]

    def test_what_hangs_gently_first(self):
        run = Run("a heartbeat=1000 retries=1 backoff=0", now=100)
        run.now = 1100
        assert run.exceeds("a", "hang", 1000) == ["kill a.1 hang"]
        assert run.wake(6100) == ["kill a.1 hang by force"]
        assert run.fails("a", HANG) == ["retry a at 6100 (hang)", "start a.2"]

    def test_once(self):
        run = Run("a")
        run.exceeds("a", "hang")
        assert run.exceeds("a", "hang") == run.exceeds("a", "memory") == []

    def test_what_is_over_or_was_never_there_is_of_no_matter(self):
        run = Run("a retries=1 backoff=0")
        run.fails("a")
        assert run.exceeds("a", "memory", 9, attempt=1) == run.exceeds("gone", "hang", 9, attempt=1) == []
        assert run.done("a") == ["finish succeeded"]
        assert run.exceeds("a", "hang") == []

    def test_what_ends_well_all_the_same_is_done(self):
        run = Run("a\nb < a")
        run.exceeds("a", "hang")
        assert run.done("a") == ["start b.1"]


@pytest.mark.parametrize(
    "change", [Exceeded(1, "a", 2, "memory", 3), Retry(1, "a", 1, "memory", Run("a memory=7")["a"].needs)]
)
def test_changes_as_rows(change):
    assert msgspec.json.decode(msgspec.json.encode(change), type=AnyChange) == change

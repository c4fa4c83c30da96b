from flowrun.shell.simulating import traces

HEADER = "submit,team,priority,resources,duration"


def test_rows_come_in_order_of_submission(tmp_path):
    path = tmp_path / "jobs.csv"
    path.write_text(f"{HEADER}\n1h,b,0,gpus=2 memory=4GB,90\n5,a,1.5,cpus=2,1h 30min\n")
    first, second = traces.read(path)
    assert (first.team, first.submit_ms, first.duration_ms, first.priority) == ("a", 5000, 5_400_000, 1.5)
    assert (second.needs.gpus, second.needs.cpus, second.needs.memory_mb) == (2, 0, 4096)

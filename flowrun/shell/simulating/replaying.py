"""`flowrun simulate --trace`: a queue of jobs, replayed through the scheduler on hosts that are described."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from flowc.plan import hosts_file
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused
from flowc.plan.host import Cluster
from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Rejected
from flowrun.core.pool import Pool
from flowrun.core.scheduler.lengths import Learned, Remaining
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.preempting import ByRank, ByShares
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.finish import FinishTimes, alone_ms
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Sharing, Team, tier_of
from flowrun.core.simulation.jobs import Course, Job, Replay
from flowrun.core.simulation.outcome import Outcome, outcome
from flowrun.shell import teams
from flowrun.shell.amounts import duration
from flowrun.shell.host import devices
from flowrun.shell.simulating.traces import Row, read


class TeamOutcome(msgspec.Struct, frozen=True):
    """What a team used against what it is entitled to, as parts of the hosts' devices over the makespan.

    `rho` is finish-time fairness: completion over what it would have been on the team's own part.
    """

    team: str
    jobs: int
    entitled: float
    used: float
    waiting_s: float
    rho: float
    rho_worst: float


class Replayed(msgspec.Struct, frozen=True):
    """A whole answer."""

    outcome: Outcome
    teams: tuple[TeamOutcome, ...]
    devices: float
    counted: str  # what is counted as a device


def run(trace: Path, described: str, teams_file: Path | None) -> Replayed:
    """Replay a trace on hosts that are described; `Refused` (FR135 to FR139) if it makes no sense."""
    cluster = hosts_file.read(described) if described else Cluster(((devices.detect(), 1),))
    rows = read(trace)
    whole = _sum(cluster.hosts)
    names = dict.fromkeys(row.team for row in rows)
    sharing = teams.read(teams_file, whole) if teams_file else Sharing({name: Team() for name in names})
    found = [*_strangers(rows, sharing, trace), *_too_large(rows, cluster, sharing, trace)]
    if found:
        raise Refused(*found)
    return replay(rows, cluster, sharing, fair=teams_file is not None or len(names) > 1)


def replay(rows: list[Row], cluster: Cluster, sharing: Sharing, fair: bool) -> Replayed:
    """Play the jobs. With several teams by their shares; without, by length as far as that is known."""
    whole = teams.amounts(_sum(cluster.hosts))
    counted = "gpus" if whole["gpus"] else "cpus"
    order = _fair(cluster, sharing)
    shares = order.shares
    jobs = [_job(row, shares, counted) for row in rows]
    if fair:
        grace_ms = round(sharing.preemption.notice_s * 1000)
        play = Replay(jobs, Scheduler(_pool(cluster), order, ByShares(order, saves=True), grace_ms))
    else:
        jobs = [msgspec.structs.replace(job, lane=Lane()) for job in jobs]
        lengths = Remaining() if all(job.estimate_ms for job in jobs) else Learned()
        play = Replay(jobs, Scheduler(_pool(cluster), None, ByRank(), 0), lengths)
    courses = play.run()
    of_teams = tuple(_team(shares, i, rows, jobs, courses, whole[counted]) for i in range(len(shares.names)))
    return Replayed(outcome(jobs, courses, whole[counted]), of_teams, whole[counted], counted)


def show(replayed: Replayed) -> str:
    """The answer for people."""
    found = replayed.outcome
    completion, waiting = found.completion, found.waiting
    lines = [
        f"{found.jobs} jobs on {replayed.devices:g} {replayed.counted} take {_time(found.makespan_s)};"
        f" {found.utilisation_of_all:.1%} of that in use",
        f"{'':12}{'average':>14}{'median':>14}{'p99':>14}{'longest':>14}",
    ]
    for name, times in (("completion", completion), ("waiting", waiting)):
        figures = "".join(f"{_time(figure):>14}" for figure in msgspec.structs.astuple(times))
        lines += [f"{name:12}{figures}"]
    lines.append(
        f"{found.preemptions} preemptions of {found.preempted_jobs} jobs; {found.long_waits} waited more than"
        f" 10 times their length and an hour, {found.starved} of them for more than a day"
    )
    lines.append(
        f"{'team':16}{'jobs':>8}{'entitled':>10}{'used':>8}{'waiting':>14}{'fairness':>10}{'worst':>8}"
    )
    lines += [
        f"{team.team:16}{team.jobs:>8}{team.entitled:>10.1%}{team.used:>8.1%}{_time(team.waiting_s):>14}"
        f"{team.rho:>10.2f}{team.rho_worst:>8.2f}"
        for team in replayed.teams
    ]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return duration(seconds * 1000)


def _pool(cluster: Cluster) -> Pool:
    return Pool(cluster.hosts, shared=dict(cluster.shared))


def _sum(hosts: Iterable[Capacity]) -> Capacity:
    """All hosts as if they were one; only sums of it are asked for."""
    hosts = list(hosts)
    gpus = tuple(gpu for host in hosts for gpu in host.gpus)
    return Capacity(sum(host.cpus for host in hosts), sum(host.memory_mb for host in hosts), gpus)


def _strangers(rows: Iterable[Row], sharing: Sharing, path: Path) -> Iterable[Diagnostic]:
    seen: set[str] = set()
    parents = {team.parent for team in sharing.teams.values()}
    for row in rows:
        if row.team not in sharing.teams and row.team not in seen:
            seen.add(row.team)
            place = Label(Place(str(path), row.line))
            known = ", ".join(f"`{name}`" for name in list(sharing.teams)[:8])
            yield Diagnostic("FR138", f"there is no team `{row.team}`", (place,), hint=f"there are {known}")
        elif row.team in parents:
            place = Label(Place(str(path), row.line))
            yield Diagnostic("FR138", f"team `{row.team}` only stands for its parts", (place,))
            return
        elif row.tier > len(sharing.tiers.weights):
            place = Label(Place(str(path), row.line))
            yield Diagnostic("FR138", f"there is no tier {row.tier}", (place,))
            return


def _too_large(rows: Iterable[Row], cluster: Cluster, sharing: Sharing, path: Path) -> Iterable[Diagnostic]:
    pool, order = _pool(cluster), _fair(cluster, sharing)
    seen: set[tuple[str, int, Resources]] = set()
    for row in rows:
        if row.team not in sharing.teams or (row.team, row.tier, row.needs) in seen:
            continue
        seen.add((row.team, row.tier, row.needs))
        lane = Lane(order.shares.index[row.team], row.tier or tier_of(sharing, row.team))
        why = pool.place(row.needs)
        if not isinstance(why, Rejected):
            limit = order.ever_allowed(lane, row.needs)
            if limit is None:
                continue
            why = limit
        place = Label(Place(str(path), row.line))
        yield Diagnostic("FR139", f"the job can never start: {why}", (place,))


def _fair(cluster: Cluster, sharing: Sharing) -> Fair:
    gpus_mb = min((gpu.memory_mb for host in cluster.hosts for gpu in host.gpus), default=0)
    return Fair(Shares(sharing, teams.amounts(_sum(cluster.hosts))), gpus_mb)


def _job(row: Row, shares: Shares, counted: str) -> Job:
    team = shares.index[row.team]
    tier = row.tier or tier_of(shares.sharing, row.team)
    size = row.needs.gpus if counted == "gpus" else row.needs.cpus
    return Job(
        row.submit_ms, row.needs, row.duration_ms, Lane(team, tier), row.priority, row.estimate_ms, size
    )


def _team(
    shares: Shares, team: int, rows: list[Row], jobs: list[Job], courses: list[Course], devices: float
) -> TeamOutcome:
    name = shares.names[team]
    own = [(job, course) for row, job, course in zip(rows, jobs, courses, strict=True) if row.team == name]
    begin, end = jobs[0].submit_ms, max(course.ended_ms for course in courses)
    finish, entitled = FinishTimes(), float(max(shares.entitled[team].parts))
    waited = work = 0.0
    for job, course in own:
        taken = course.ended_ms - job.submit_ms
        waited += taken - job.duration_ms
        work += job.size * job.duration_ms
        if entitled:
            finish.add(taken, alone_ms(job.duration_ms, job.size / devices, entitled))
    return TeamOutcome(
        name,
        len(own),
        round(entitled, 4),
        round(work / (devices * max(end - begin, 1)), 4),
        round(waited / max(len(own), 1) / 1000, 1),
        round(finish.mean, 3),
        round(finish.worst, 3),
    )

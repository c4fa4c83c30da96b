"""Random hosts, and teams that share them by rules that make sense there."""

from random_plans import random_host

from flowrun.core.sharing.check import problems, problems_on
from flowrun.core.sharing.teams import Fairness, Preemption, Sharing, Team, Tiers


def random_hosts(random):
    """A few hosts; often alike."""
    one = random_host(random)
    others = [random.choice([one, one, random_host(random)]) for _ in range(random.choice([0, 0, 1, 2]))]
    return [one, *others]


def totals(hosts):
    """What there is in all, by resource."""
    amounts = {"cpus": 0, "memory_mb": 0, "gpus": 0}
    for host in hosts:
        amounts["cpus"] += host.cpus
        amounts["memory_mb"] += host.memory_mb
        amounts["gpus"] += len(host.gpus)
        for name, amount in host.resources:
            amounts[name] = amounts.get(name, 0) + amount
    return amounts


def random_sharing(random, capacity):
    """One to four teams, maybe parts of others, with quotas, limits and rules of preemption."""
    while True:
        teams = {}
        for number in range(random.choice([1, 2, 3, 4])):
            parent = random.choice(["", "", *teams]) if number else ""
            if parent and teams[parent].parent:
                parent = ""
            teams[f"t{number}"] = Team(parent=parent, **_random_claim(random, capacity))
        sharing = Sharing(
            teams,
            Tiers(random.choice([(50, 30, 15, 5), (1, 1, 1, 1)]), random.choice([0, 0, 0.1, 0.3])),
            Fairness(
                random.choice([0, 1, 1, 3]),
                random.choice(["relative", "relative", "absolute"]),
                random.choice([1, 1, 10, 600]),
            ),
            Preemption(
                random.random() < 0.8,
                random.choice([0, 0, 1, 300]),
                random.choice([0, 1, 3, 3]),
                random.choice([0, 1, 30]),
            ),
        )
        if not problems(sharing) and not problems_on(sharing, capacity):
            return sharing


def _random_claim(random, capacity):
    claim = {}
    match random.choice(["weight", "weight", "share", "quota"]):
        case "weight":
            claim["weight"] = random.choice([1, 1, 2, 5])
        case "share":
            claim["share"] = random.choice([0.1, 0.25, 0.5])
        case "quota":
            claim["quota"] = {
                name: amount * random.choice([0.25, 0.5]) for name, amount in capacity.items() if amount
            }
    if random.random() < 0.3:
        claim["burst"] = random.choice([1, 1.5, 3])
    if random.random() < 0.3:
        name = random.choice([name for name, amount in capacity.items() if amount])
        claim["limit"] = {name: max(1, capacity[name] // 2)}
    return claim

"""Random hosts, and random graphs whose nodes fit on them, as text: see `graphs`."""

import itertools

from books import Hosts
from graphs import plan as parse

from flowrun.core.model import Capacity, Gpu

MODELS = ("H100", "A100")
LICENCES = ("licence", "seat")


def random_host(random):
    """One host: few CPUs, so that there is much waiting; maybe GPUs of several models, linked or not."""
    links = random.choice([0, 0, 2])
    mixed = random.random() < 0.5
    memory = random.choice([8000, 16000])
    gpus = tuple(
        Gpu(
            index,
            f"NVIDIA {random.choice(MODELS) if mixed else MODELS[0]}",
            random.choice([8000, 16000]) if mixed else memory,
            1 + index // links if links else 0,
        )
        for index in range(random.choice([0, 0, 1, 3, 4]))
    )
    resources = tuple((name, random.randrange(1, 4)) for name in LICENCES if random.random() < 0.3)
    return Capacity(random.choice([1, 2, 4, 2.5]), random.choice([100, 1000]), gpus, resources)


def random_source(random, hosts, most=25, hopeless=0.0, exact=False, dense=True, allowed=lambda needs: True):
    """The lines of a graph in which every node fits on the hosts and is `allowed`; some not, if `hopeless`.

    `exact`: all nodes have estimates, and none a time limit. Unless `dense`, few wait for others.
    """
    count = random.randrange(1, random.choice(sorted({min(4, most), min(12, most), most})) + 1)
    density = random.choice([0.05, 0.15, 0.5] if dense else [0, 0, 0.15])
    conditions = random.choice([0, 0.1, 0.3])  # of the nodes
    controls = random.choice([0, 0.2, 0.4])
    handlers = random.choice([0, 0, 2, 5])
    estimated = 1 if exact else random.choice([0, 0.5, 1])
    lines, branches, controls_of = [], [], {}
    for i in range(count):
        near = [f"n{j}" for j in range(max(0, i - 8), i)]
        sources = [name for name in near if random.random() < density]
        words = []
        if i >= count - handlers and near:
            words.append(f"trigger={random.choice(['failure', 'always'])}")
        if near and (words or random.random() < conditions / 2):
            words.append(f"after={','.join(random.sample(near, random.randrange(1, min(3, len(near)) + 1)))}")
        if branches and random.random() < conditions:
            words.append(f"{random.choice(['when', 'unless'])}={random.choice(branches)}")
        lists = [name for name in near if controls_of[name] in ("", "map")]
        control = random.choice(["branch", "map", "reduce", "choose"]) if random.random() < controls else ""
        match control:
            case "choose" if branches:
                values = random.sample(near, random.randrange(min(2, len(near)) + 1))
                sources = [random.choice(branches), *values]
            case "map" | "reduce" if lists:
                first = random.choice(lists)
                sources = [first, *(name for name in sources if name != first)]
                if control == "reduce" and len(sources) == 1 and controls_of[first] == "map":
                    words.append("initial=0")  # or it fails if there are no items
            case "map":
                sources = []
                words.append("item=[1,2,3]")
            case _:
                control = random.choice(["branch", ""])
                sources, words = (sources[:1], words) if control else (sources, words)
                words += ["condition=true"] if control and not sources else []
        words += [f"control={control}"] if control else []
        controls_of[f"n{i}"] = control
        if control == "branch":
            branches.append(f"n{i}")
        settings = random_settings(random, hosts, estimated, random.random() < hopeless, allowed)
        settings = [word for word in settings if not (exact and word.startswith("timeout="))]
        lines.append(" ".join([f"n{i}", "<", *sources, *words, *settings]))
    return lines


def random_settings(random, hosts, estimated=0.0, hopeless=False, allowed=lambda needs: True):
    """Settings of a node that fits on empty hosts; or, if it is `hopeless`, of one that never does."""
    books = Hosts(hosts)
    for _ in itertools.count():
        settings = {
            "cpus": random.choice([0, 0.3, 1, 1, 1, 2, 4]),
            "memory": random.choice([0, 0, 10, 60, 100, 500]),
            "gpus": random.choice([0, 0, 0, 1, 2, 3]),
            "retries": random.choice([0, 0, 1, 3]),
            "backoff": random.choice([0, 1, 1000, 500_000]),
            "timeout": random.choice([0, 0, 20, 3000]),
            "heartbeat": random.choice([0, 0, 0, 10, 1000]),
            "retry_on": random.choice(["", "", "", "error", "crash,memory", "hang,timeout"]),
            "priority": random.choice([0, 0, 0, 1, -5]),
        }
        if random.random() < estimated:
            settings["estimate"] = random.choice([1, 10, 100, 1000, random.randrange(1, 5000)])
        if settings["gpus"]:
            settings["gpu_memory"] = random.choice([0, 3000, 8000, 12000, 16000])
            settings["gpus_max"] = random.choice([0, settings["gpus"] + 1, settings["gpus"] + 2])
            settings["models"] = random.choice(["", "", *MODELS, ",".join(MODELS)])
            settings["linked"] = random.choice([0, 0, 1])
            settings["hosts_max"] = random.choice([1, 1, 2]) if len(hosts) > 1 else 1
        uses = [f"{name}:{random.choice([1, 1, 2])}" for name in LICENCES if random.random() < 0.2]
        settings["uses"] = ",".join(uses)
        words = [f"{name}={value}" for name, value in settings.items() if value != ""]
        needs = parse(" ".join(["n", "<", *words])).sites[0].needs
        if (books.ever_fits(needs) and allowed(needs)) != hopeless:
            return words

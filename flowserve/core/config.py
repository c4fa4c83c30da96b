"""The server's configuration: a TOML file, checked whole before anything is started."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.models.settings import ModelSettings, PerModel, Providers, Tier, contradiction
from flowserve.core.observe.settings import AccessLog, Observed, Samples, Traces
from flowserve.core.rollout.plan import Plan, checked
from flowserve.core.toml import Toml
from flowserve.core.wire.limits import Limits

Positive = Annotated[float, msgspec.Meta(gt=0)]
OTHERS = "*"
"""`[model."*"]` says what the tables of single models do not."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file may say; docs/serving.md explains each. Options of the command line go before it."""

    models: str = "models"
    http: str = "127.0.0.1:8000"
    grpc: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tokens: str = ""
    trust_network: bool = False
    model_control: bool = False
    batching: bool = True
    processes: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    """0 leaves it to `places`."""
    tier: Tier = 2
    memory_mb: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """0 is no bound; None leaves it to `room`."""
    providers: Providers = "auto"
    devices: str = ""
    """A description of this host's GPUs, where NVML cannot tell of them."""
    gpu_memory_mb: Annotated[int, msgspec.Meta(ge=0)] = 0
    grace_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    rollout: Plan = Plan()
    """What rollouts are like whose settings nobody gives."""
    access_log: AccessLog = AccessLog()
    samples: Samples = Samples()
    traces: Traces = Traces()
    limits: Limits = Limits()
    model: dict[str, dict[str, Any]] = {}
    """By name, what `ModelSettings` may say."""

    def per_model(self) -> PerModel:
        """The settings of every model, with what the file says of all where it says nothing of one."""
        server: dict[str, Any] = {"tier": self.tier, "providers": self.providers}
        if not self.batching:
            server["batching"] = "off"
        others = server | self.model.get(OTHERS, {})
        named = {
            name: msgspec.convert(others | of, ModelSettings)
            for name, of in self.model.items()
            if name != OTHERS
        }
        return PerModel(named, msgspec.convert(others, ModelSettings))

    @property
    def observed(self) -> Observed:
        """What is told of requests."""
        return Observed(self.access_log, self.samples, self.traces)


def parse_config(text: str, file: str) -> Config:
    """Read a configuration.

    Raises `Refused` FS106 with the line that is wrong.
    """
    toml = Toml(text, file, "the configuration", "FS106")
    for name, kind in _TABLES.items():  # by themselves: hints are of their names
        toml.convert(toml.values.get(name, {}), kind, [name])
    config = toml.convert(toml.values, Config)
    try:
        checked(config.rollout)
    except Refused as refused:
        toml.wrong(["rollout", "steps"], refused.diagnostics[0].message)
    for name, of in config.model.items():
        settings = toml.convert(of, ModelSettings, ["model", name])
        if found := contradiction(settings):
            toml.wrong(["model", name, found[0]], found[1])
    for name, settings in config.per_model().named.items():
        if found := contradiction(settings):
            toml.wrong(["model", name, found[0]], found[1])
    return config


_TABLES: dict[str, type[msgspec.Struct]] = {
    "access_log": AccessLog,
    "limits": Limits,
    "rollout": Plan,
    "samples": Samples,
    "traces": Traces,
}

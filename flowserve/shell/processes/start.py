"""`flowserve start`."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from flowc.plan.diagnostics import Diagnostic, Place, Refused, refuse
from flowc.plan.machine import memory_bytes, whole_processors
from flowserve.core.catalog.operations import Refresh
from flowserve.core.config import Config, parse_config
from flowserve.core.memory.tiers import EAGER
from flowserve.core.models.key import Key
from flowserve.core.models.seat import Gpu
from flowserve.core.models.settings import PerModel
from flowserve.core.observe.settings import Observed
from flowserve.core.places import places, room
from flowserve.core.rollout.plan import Rollout
from flowserve.core.wire.addresses import Address, parse_address
from flowserve.shell.models.aliases import read_rollouts
from flowserve.shell.models.repository import scan
from flowserve.shell.models.watch import Watch
from flowserve.shell.models.weights import size_on_disk
from flowserve.shell.observe.rotating import check_writable
from flowserve.shell.processes.admin import Admin
from flowserve.shell.processes.children import Settings
from flowserve.shell.processes.control import left_path
from flowserve.shell.processes.gpus import gpus_of, has_cuda, shared
from flowserve.shell.processes.supervisor import Supervisor
from flowserve.shell.wire.listening import address_of, reserve, url_of
from flowserve.shell.wire.security import Security, check_reach, read_security

_ROWS_MAX = 40


def configured(file: Path | None, options: Mapping[str, Any]) -> Config:
    """Return what a file says, if one is named, and the options that are given.

    Raises `Refused` FS106.
    """
    config = Config()
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            refuse("FS106", f"the configuration cannot be read: {reason.lower()}", Place(str(file)))
        config = parse_config(text, str(file))
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("processes", 0) < 0:
        refuse("FS106", f"`--processes` must be a number of processes, got {given['processes']}")
    if file := given.pop("access_log", ""):
        given["access_log"] = msgspec.structs.replace(config.access_log, file=file)
    if url := given.pop("otel", ""):
        given["traces"] = msgspec.structs.replace(config.traces, endpoint=url)
    return msgspec.structs.replace(config, **given)


def start_server(config: Config, environment: Mapping[str, str]) -> None:
    """Serve a repository until SIGTERM or Ctrl-C.

    Raises `Refused` FS101 to FS109 and FS251 to FS254 when that cannot be, and exits with 1 when requests
    were left unanswered.
    """
    http = parse_address(config.http, "FS104")
    grpc = parse_address(config.grpc, "FS104") if config.grpc else None
    certificate, key, tokens = map(_path, (config.tls_cert, config.tls_key, config.tokens))
    security = read_security(certificate, key, tokens, environment)
    logging.basicConfig(format="flowserve: %(message)s", level=logging.INFO)
    _check_observed(config.observed)
    watch = Watch(Path(config.models))
    found, problems = _found(watch, Path(config.models))

    def reserved(address: Address, option: str, scheme: str) -> tuple[socket.socket, str]:
        listener = reserve(address, option)
        check_reach(listener, security, config.trust_network)
        return listener, url_of(listener, scheme, security.tls is not None)

    listener, url = reserved(http, "--http", "http")
    beside, grpc_url = reserved(grpc, "--grpc", "grpc") if grpc is not None else (None, "")
    address = address_of(listener)
    notes: list[str] = []
    settings = _settings(config, found, security, gpus_of(config, environment, notes.append), address)
    supervisor = Supervisor(settings, listener, beside)
    for note in notes:
        supervisor.note(note)
    for name in sorted(set(settings.models.named) - set(found.found)):
        supervisor.note(f"the configuration has settings of model `{name}`, which the repository has not")

    def announce(rows: list[str]) -> None:
        for row in rows[:_ROWS_MAX]:
            print(row)
        if len(rows) > _ROWS_MAX:
            print(f"... and {len(rows) - _ROWS_MAX:,} more: `flowserve models --running` lists them")
        for listening in filter(None, (grpc_url, url)):
            print(f"listening on {listening}")
        sys.stdout.flush()

    async def serve() -> bool:
        async with Admin(supervisor, watch, address, config.rollout).administered():
            return await supervisor.run(found, announce, problems)

    if not asyncio.run(serve()):
        print("stopped before every request was answered", file=sys.stderr, flush=True)
        sys.exit(1)


def _settings(
    config: Config, found: Refresh, security: Security, gpus: list[Gpu], address: Address
) -> Settings:
    """What a configuration means for these models on this machine, for a server at that address."""
    repository, models = Path(config.models), config.per_model()
    # Several processes would have all models on a GPU several times.
    processes = config.processes or (1 if gpus and has_cuda() else _places(found, repository, models))
    return Settings(
        repository=repository,
        server_version=version("flow-toolchain"),
        processes=processes,
        limits=config.limits,
        models=models,
        memory_bytes=_memory_bytes(config.memory_mb, processes),
        gpus=shared(gpus, config.gpu_memory_mb, processes),
        grace_s=config.grace_s,
        model_control=config.model_control,
        observed=config.observed,
        credentials=security.credentials(),
        left=left_path(address),
    )


def _found(watch: Watch, models: Path) -> tuple[Refresh, list[Diagnostic]]:
    """Return what is in the repository, with what an earlier server has left, and what is wrong there.

    Raises `Refused` FS101 and FS102 when there is nothing to serve.
    """
    found, problems = watch.look()
    while found is None or not any(found.found.values()):
        scan(models)  # refuses what is missing or wrong
        if problems:
            raise Refused(*problems)
        found, problems = watch.look()  # the first model came meanwhile
    rollouts: dict[str, dict[str, Rollout]] = {}
    for name in found.found:
        try:
            if left := read_rollouts(models / name):
                rollouts[name] = left
        except Refused as refused:
            problems += refused.diagnostics
    return msgspec.structs.replace(found, rollouts=rollouts), problems


def _memory_bytes(said_mb: int | None, processes: int) -> int:
    """What all models may have; 0 for no bound."""
    return room(memory_bytes(), processes) if said_mb is None else said_mb * 2**20


def _places(found: Refresh, models: Path, settings: PerModel) -> int:
    """How many processes fit these models and this machine."""
    keys = [Key(name, version) for name, of in found.found.items() for version in of]
    eager = [key for key in keys if settings.of(key.name).tier <= EAGER]
    sizes = [size_on_disk(models, settings, 1, key).private for key in eager]
    return places(whole_processors(), memory_bytes(), sizes)


def _check_observed(observed: Observed) -> None:
    """Raises `Refused` FS106, FS290 and FS291 where what requests leave cannot go where it is to."""
    for log in (observed.access_log.file, observed.samples.file):
        if log:
            check_writable(log)
    if observed.traces.endpoint:
        _check_traces(observed.traces.endpoint)


def _check_traces(endpoint: str) -> None:
    """Raises `Refused` FS106 and FS290."""
    if urlsplit(endpoint).scheme not in ("http", "https"):
        refuse("FS106", f"spans are sent to a URL, as in `http://127.0.0.1:4318`, got `{endpoint}`")
    for module in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            missing = find_spec(module) is None
        except ModuleNotFoundError:
            missing = True
        if missing:
            hint = "`pip install 'flow-toolchain[otel]'` installs it"
            refuse("FS290", f"`--otel` needs the extra `otel`: there is no module `{module}`", hint=hint)


def _path(text: str) -> Path | None:
    return Path(text) if text else None

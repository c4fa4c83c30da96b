"""Trace and log settings are changed as Triton changes them, or refused with what is wrong."""

import logging

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.wire.settings import LogSettings, changed_log, changed_trace


@pytest.mark.parametrize("body", [b"", b"{}", b'{"trace_level": ["OFF"]}', b'{"trace_rate": null}'])
def test_traces_stay_off(body):
    changed_trace(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"trace_level": ["TIMESTAMPS"]}',
            '[FS233] `trace_level` can only be "OFF": this server writes no traces',
        ),
        (b'{"level": 1}', "[FS233] there is no trace setting `level`"),
        (b"[1]", "[FS201] the request must be a JSON object"),
    ],
)
def test_other_trace_settings(body, message):
    with pytest.raises(Refused) as caught:
        changed_trace(body)
    assert message in str(caught.value)


def test_log_settings_say_what_is_logged():
    settings = changed_log(LogSettings(), b'{"log_info": false, "log_verbose_level": 1}')
    levels = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]
    assert [settings.logs(level) for level in levels] == [True, False, True, True]
    assert [LogSettings().logs(level) for level in levels] == [False, True, True, True]


@pytest.mark.parametrize(
    "body",
    [
        b'{"log_info": 1}',
        b'{"log_verbose_level": -1}',
        b'{"log_level": 1}',
        b'{"log_file": "/etc/passwd"}',
        b'{"log_format": "x"}',
    ],
)
def test_other_log_settings(body):
    with pytest.raises(Refused, match="FS233"):
        changed_log(LogSettings(), body)

"""Methods and paths become questions."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.wire.extension_routes import (
    LogSetting,
    RepositoryIndex,
    RepositoryLoad,
    RepositoryUnload,
    SharedMemoryRegister,
    SharedMemoryStatus,
    SharedMemoryUnregister,
    Statistics,
    TraceSetting,
)
from flowserve.core.wire.routes import (
    Infer,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    OpenApi,
    Page,
    Predict,
    ServerLive,
    ServerMetadata,
    ServerReady,
    parse_route,
)


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("GET", "/v2", ServerMetadata()),
        ("GET", "/v2/", ServerMetadata()),
        ("GET", "http://localhost:8000/v2?a=/b", ServerMetadata()),
        ("GET", "HTTPS://localhost", Page()),
        ("GET", "/v2/health/live?verbose=1", ServerLive()),
        ("HEAD", "/v2/health/ready", ServerReady()),
        ("POST", "/v2/repository/index", RepositoryIndex()),
        ("GET", "/v2/models/iris", ModelMetadata("iris", "")),
        ("GET", "/v2/models/a%20b%2Fc/versions/2", ModelMetadata("a b/c", "2")),
        ("GET", "/v2/models/iris/ready", ModelReady("iris", "")),
        ("GET", "/v2/models/iris/versions/2/ready", ModelReady("iris", "2")),
        ("GET", "/v2/models/iris/config", ModelConfig("iris", "")),
        ("GET", "/v2/models/iris/versions/2/config", ModelConfig("iris", "2")),
        ("GET", "/", Page()),
        ("GET", "/predict/iris", Page("iris")),
        ("POST", "/predict/iris/versions/2", Predict("iris", "2")),
        ("GET", "/openapi.json", OpenApi()),
        ("GET", "/v2/models/stats", Statistics()),
        ("GET", "/v2/models/iris/versions/2/stats", Statistics("iris", "2")),
        ("POST", "/v2/repository/models/iris/load", RepositoryLoad("iris")),
        ("POST", "/v2/repository/models/iris/unload", RepositoryUnload("iris")),
        ("GET", "/v2/systemsharedmemory/status", SharedMemoryStatus(False)),
        ("GET", "/v2/cudasharedmemory/region/a%2Fb/status", SharedMemoryStatus(True, "a/b")),
        ("POST", "/v2/systemsharedmemory/region/a/register", SharedMemoryRegister(False, "a")),
        ("POST", "/v2/systemsharedmemory/unregister", SharedMemoryUnregister(False)),
        ("POST", "/v2/models/iris/trace/setting", TraceSetting(True, "iris")),
        ("GET", "/v2/logging", LogSetting(False)),
        ("POST", "/v2/models/iris/infer", Infer("iris", "")),
        ("POST", "/v2/models/iris/versions/2/infer", Infer("iris", "2")),
    ],
)
def test_routes(method, target, route):
    assert parse_route(method, target) == route


@pytest.mark.parametrize(
    ("method", "target", "message"),
    [
        ("GET", "ftp://localhost/v2", "[FS209] there is no route"),
        ("GET", "v2", "[FS209] there is no route `v2`"),
        ("GET", "/v3", "[FS209] there is no route `/v3`"),
        ("GET", "/v2/models", "[FS209] there is no route `/v2/models`"),
        ("GET", "/v2/models/iris/infer", "[FS209] `/v2/models/iris/infer` takes POST, got GET"),
        ("DELETE", "/v2", "[FS209] `/v2` takes GET, got DELETE"),
    ],
)
def test_other_paths_and_methods(method, target, message):
    with pytest.raises(Refused) as caught:
        parse_route(method, target)
    assert message in str(caught.value)

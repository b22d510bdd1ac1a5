"""Every feature works in a cluster, through a worker in this process and through the runtime of many processes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from glidemq import Worker
from glidemq.commands.keys import QueueKeys
from tests.cluster import app, features
from tests.cluster.ai_features import AI_FEATURES
from tests.cluster.control_features import CONTROL
from tests.cluster.features import FEATURES, Case
from tests.cluster.scene import scene_of
from tests.testkit.cluster import Cluster
from tests.testkit.effects import DIRECTORY_VARIABLE, History
from tests.testkit.runtime import Runtime

CASES = pytest.mark.parametrize("case", FEATURES, ids=[case.__name__ for case in FEATURES])
# Those in which the processor itself has a part: a plain function reaches the server in another way.
PLAIN = [
    *AI_FEATURES,
    *CONTROL,
    features.many_at_once,
    features.retries,
    features.timeout,
    features.revocation,
    features.group,
    features.global_concurrency,
    features.report,
]
RUN = uuid.uuid4().hex[:6]  # several processes of one run of pytest share the cluster


def queue_of(case: Case) -> str:
    return f"{case.__name__}-{RUN}"


def plain_queue_of(case: Case) -> str:
    return f"plain-{queue_of(case)}"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(tmp_path_factory.mktemp("cluster") / "effects")


@pytest.fixture(scope="module")
def runtime(
    tmp_path_factory: pytest.TempPathFactory, cluster: Cluster, history: History
) -> Iterator[Runtime]:
    """Two actor processes of each kind; they serve the queues of all cases, which live on all primaries."""
    queues = [queue_of(case) for case in FEATURES]
    assert {cluster.primary_of(QueueKeys("glide", queue).meta) for queue in queues} == set(cluster.primaries)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(app.QUEUES_VARIABLE, ",".join(queues))
        environment.setenv(app.PLAIN_QUEUES_VARIABLE, ",".join(plain_queue_of(case) for case in PLAIN))
        running = Runtime(
            tmp_path_factory.mktemp("cluster-runtime"), "tests.cluster.app:app", url=cluster.url,
            effects=history.directory, arguments=("--procs", "2"),
        ).start()  # fmt: skip
    yield running
    try:
        assert running.stop() == 0
        assert not running.lines(" ERROR ")
    finally:
        running.clean_up()


@CASES
async def test_feature_through_a_worker(
    case: Case, cluster: Cluster, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(history.directory))
    async with scene_of(f"worker-{queue_of(case)}", cluster.url, history) as scene:
        worker = Worker(
            scene.queue.name, app.process, connection=cluster.url, concurrency=app.CONCURRENCY, **app.LIMITS
        )
        try:
            await worker.start()
            await case(scene)
        finally:
            await worker.close(force=True)


@CASES
async def test_feature_through_the_supervisor(
    case: Case, cluster: Cluster, history: History, runtime: Runtime
) -> None:
    await runtime.ready()
    async with scene_of(queue_of(case), cluster.url, history) as scene:
        await case(scene)


@pytest.mark.parametrize("case", PLAIN, ids=[case.__name__ for case in PLAIN])
async def test_feature_through_plain_functions_in_actor_processes(
    case: Case, cluster: Cluster, history: History, runtime: Runtime
) -> None:
    await runtime.ready()
    async with scene_of(plain_queue_of(case), cluster.url, history) as scene:
        await case(scene)

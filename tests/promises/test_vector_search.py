"""Jobs are found by their embeddings: the same ones with a search module and without it, with the same scores."""

from __future__ import annotations

import importlib
import logging
import math
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from glidemq import (
    ConfigurationError,
    IndexField,
    Job,
    JobNotFoundError,
    JobStateError,
    Queue,
    SearchUnavailableError,
    ValidationError,
    VectorField,
    Worker,
)
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyQueue = Queue[Any, Any]
Metric = Literal["COSINE", "L2", "IP"]

EMBEDDING = VectorField("embedding", 4)
FIELDS = [IndexField("tenant"), IndexField("size", "NUMERIC")]
UNAVAILABLE = "Valkey Search module is not available. Install valkey-bundle or load the search module to use"


@pytest.fixture(params=["module", "exact"])
async def queue(
    request: pytest.FixtureRequest, server: ValkeyServer, queue_name: str
) -> AsyncIterator[AnyQueue]:
    """A queue on a server with a search module, and one on a server without."""
    if request.param == "module":
        url = request.getfixturevalue("search_server").url
    else:
        pytest.importorskip("numpy", reason="the extra vectors (numpy) is not installed")
        url = server.url
    async with AnyQueue(queue_name, connection=url) as made:
        yield made


@pytest.fixture
async def plain(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    """A queue on a server without a search module."""
    async with AnyQueue(queue_name, connection=server.url) as made:
        yield made


async def added(queue: AnyQueue, name: str = "n", **options: Any) -> Job[Any, Any]:
    job = await queue.add(name, {"of": name}, **options)
    assert job is not None
    return job


async def fill(queue: AnyQueue, vectors: list[list[float]]) -> None:
    """Jobs 1, 2, …, with a vector each, of two tenants in turn and of growing size."""
    for number, vector in enumerate(vectors, 1):
        job = await added(queue, f"n{number % 3}", priority=number % 2)
        attributes = {"tenant": ("Acme", "Über, Ltd")[number % 2], "size": number}
        await job.store_vector("embedding", vector, attributes)


async def finds(queue: AnyQueue, count: int, index_name: str | None = None) -> bool:
    return len(await queue.vector_search([1, 0, 0, 0], index_name=index_name)) == count


def some_vectors(count: int, seed: int = 1) -> list[list[float]]:
    generator = random.Random(seed)
    return [[generator.uniform(-1, 1) for _ in range(4)] for _ in range(count)]


def distance(metric: Metric, a: list[float], b: list[float]) -> float:
    product = sum(x * y for x, y in zip(a, b, strict=True))
    if metric == "L2":
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return 1 - (product / math.hypot(*a) / math.hypot(*b) if metric == "COSINE" else product)


@pytest.mark.parametrize("metric", ["COSINE", "L2", "IP"])
async def test_nearest_jobs_come_first_with_the_distance_as_their_score(
    queue: AnyQueue, metric: Metric
) -> None:
    vectors, target = some_vectors(60), some_vectors(1, seed=2)[0]
    await queue.create_job_index(vector_field=VectorField("embedding", 4, "FLAT", metric))
    await fill(queue, vectors)
    distances = sorted((distance(metric, vector, target), n) for n, vector in enumerate(vectors, 1))
    found = await queue.vector_search(target, k=25)
    assert [int(match.job.id) for match in found] == [number for _, number in distances[:25]]
    assert [score for _, score in found] == pytest.approx([d for d, _ in distances[:25]], abs=1e-5)
    assert len(await queue.vector_search(target)) == 10
    assert len(await queue.vector_search(target, k=500)) == 60


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("*", {1, 2, 3, 4, 5, 6}),
        ("@state:{prioritized}", {1, 3, 5}),
        ("@state:{waiting | prioritized}", {1, 2, 3, 4, 5, 6}),
        ("@name:{n1}", {1, 4}),
        ("@state:{PRIO*}", {1, 3, 5}),
        ("@tenant:{acme}", {2, 4, 6}),
        ("@tenant:{ltd}", {1, 3, 5}),
        ("@size:[2 4]", {2, 3, 4}),
        ("@size:[(2 +inf]", {3, 4, 5, 6}),
        ("@size:[-inf (2]", {1}),
        ("@timestamp:[0 1000]", set()),
        ("@priority:[1 1]", {1, 3, 5}),
        ("@tenant:{acme} @size:[3 6]", {4, 6}),
        ("@name:{n1} | @size:[6 6]", {1, 4, 6}),
        ("@name:{n1} | @name:{n2} @size:[5 6]", {1, 4, 5}),
        ("(@name:{n1} | @name:{n2}) @size:[5 6]", {5}),
        ("-@tenant:{acme}", {1, 3, 5}),
        ("@size:[1 4] -@name:{n1}", {2, 3}),
        ("-(@name:{n1} | @size:[6 6])", {2, 3, 5}),
        ("@state:{completed}", set()),
    ],
)
async def test_filters_mean_the_same_with_and_without_the_module(
    queue: AnyQueue, filter: str, expected: set[int]
) -> None:
    await queue.create_job_index(fields=FIELDS, vector_field=EMBEDDING)
    await fill(queue, some_vectors(6))
    found = await queue.vector_search([1, 0, 0, 0], filter=filter)
    assert {int(match.job.id) for match in found} == expected


async def test_filter_sees_what_a_job_has_become(queue: AnyQueue) -> None:
    await queue.create_job_index(vector_field=EMBEDDING)
    await fill(queue, some_vectors(3))

    async def process(job: Job[Any, Any]) -> str:
        return job.id

    async with Worker[Any, Any](queue.name, process, connection=queue._owned.options):  # type: ignore[union-attr]
        for number in ("1", "2", "3"):
            job = await queue.get_job(number)
            assert job is not None
            await job.wait_until_finished(poll=0.01)
    found = await queue.vector_search([1, 0, 0, 0], filter="@state:{completed}")
    assert {match.job.id: match.job.return_value for match in found} == {"1": "1", "2": "2", "3": "3"}
    await queue.remove("2")
    found = await queue.vector_search([1, 0, 0, 0], filter="@state:{completed}")
    assert {match.job.id for match in found} == {"1", "3"}


async def test_jobs_are_read_as_far_as_they_are_wanted(queue: AnyQueue) -> None:
    await queue.create_job_index(vector_field=EMBEDDING)
    await fill(queue, [[1.0, 0, 0, 0]])
    target = [1.0, 0, 0, 0]
    ((full, _),) = await queue.vector_search(target)
    assert (full.name, full.data, full.priority) == ("n1", {"of": "n1"}, 1)
    ((bare, _),) = await queue.vector_search(target, return_fields=[])
    assert (bare.id, bare.name, bare.data) == ("1", "n1", {})
    ((some, _),) = await queue.vector_search(target, return_fields=["data", "return_value"])
    assert some.data == {"of": "n1"}
    await full.report_usage(model="m", tokens={"input": 3})
    ((used, _),) = await queue.vector_search(target, return_fields=["usage", "finishedOn"])
    assert used.usage is not None and (used.usage.model, used.usage.total_tokens, used.data) == ("m", 3, {})


async def test_vectors_of_other_sizes_and_of_no_direction_are_not_found(queue: AnyQueue) -> None:
    await queue.create_job_index(vector_field=EMBEDDING)
    for vector in ([1.0, 0, 0, 0], [1.0, 0, 0], [0.0, 0, 0, 0]):
        await (await added(queue)).store_vector("embedding", vector)
    await (await added(queue)).store_vector("other", [1.0, 0, 0, 0])
    assert [match.job.id for match in await queue.vector_search([1, 0, 0, 0])] == ["1"]


async def test_indexes_are_made_once_dropped_and_made_again(queue: AnyQueue) -> None:
    assert await queue.drop_job_index() is False
    await fill(queue, some_vectors(2))
    await queue.create_job_index(vector_field=EMBEDDING)
    with pytest.raises(JobStateError, match="exists: drop it first"):
        await queue.create_job_index(vector_field=EMBEDDING)
    await queue.create_job_index(
        name=f"{queue.name} second", vector_field={"name": "embedding", "dimensions": 4}
    )
    await eventually(lambda: finds(queue, 2, f"{queue.name} second"), "the module has read what was there")
    assert await queue.drop_job_index() is True
    with pytest.raises(ValidationError, match="there is no index"):
        await queue.vector_search([1, 0, 0, 0])
    await queue.create_job_index(vector_field=EMBEDDING)
    await eventually(lambda: finds(queue, 2), "the module has read what was there")


async def test_searches_that_cannot_work_are_refused(queue: AnyQueue) -> None:
    await queue.create_job_index()
    with pytest.raises(ValidationError, match="has no vector field"):
        await queue.vector_search([1, 0])
    await queue.drop_job_index()
    await queue.create_job_index(vector_field=EMBEDDING)
    await fill(queue, some_vectors(1))
    with pytest.raises(ValidationError):
        await queue.vector_search([1, 0])
    with pytest.raises(ValidationError):
        await queue.vector_search([1, 0, 0, 0], filter="@state:{")


# -- storing ------------------------------------------------------------------------------------------------------


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(
        tmp_path / "runtime",
        "tests.promises.vector_app:app",
        url=own_server.url,
        effects=tmp_path / "effects",
        arguments=["--procs", "1"],
    )
    yield made.start()
    made.clean_up()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_actor_processes_store_vectors(runtime: Runtime, own_server: ValkeyServer, kind: str) -> None:
    pytest.importorskip("numpy", reason="the extra vectors (numpy) is not installed")
    await runtime.ready()
    async with AnyQueue(f"{kind}-embeddings", connection=own_server.url) as queue:
        await queue.create_job_index(fields=FIELDS, vector_field=EMBEDDING)
        for number, vector in enumerate(some_vectors(4)):
            job = await queue.add("embed", {"vector": vector, "tenant": f"t{number % 2}"})
            assert job is not None
            assert await job.wait_until_finished(poll=0.01) == "completed"
        found = await queue.vector_search([1, 0, 0, 0], filter="@state:{completed} @tenant:{t1}")
        assert {match.job.id for match in found} == {"2", "4"}


async def test_vector_of_a_removed_job_is_refused(plain: AnyQueue) -> None:
    job = await added(plain)
    await job.remove()
    with pytest.raises(JobNotFoundError):
        await job.store_vector("embedding", [1.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a b", [1.0]), "a vector's name must be made of"),
        (("state", [1.0]), "a vector cannot be named 'state'"),
        (("v", []), "vector must have between 1 and 32768 numbers, not 0"),
        (("v", [1.0] * 32_769), "not 32769"),
        (("v", "text"), "vector must be a sequence of numbers, not str"),
        (("v", 5), "vector must be a sequence of numbers, not int"),
        (("v", ["x"]), "vector must be made of finite float32 numbers"),
        (("v", [math.nan]), "vector must be made of finite float32 numbers"),
        (("v", [1e39]), "vector must be made of finite float32 numbers"),
        (("v", [1.0], {"v": 1}), "attribute 'v' would replace"),
        (("v", [1.0], {"name": "x"}), "attribute 'name' would replace"),
        (("v", [1.0], {"a-b": 1}), "an attribute's name must be made of"),
        (("v", [1.0], {"a": None}), "attribute 'a' must be a finite number or text"),
        (("v", [1.0], {"a": math.inf}), "attribute 'a' must be a finite number or text"),
        (
            ("v", [1.0], {"a": "x" * 5000}),
            "attribute 'a' must be a finite number or text of at most 4096 bytes",
        ),
        (("v", [1.0], {f"a{n}": n for n in range(65)}), "at most 64 attributes"),
        (("v", [1.0], ["tenant"]), "attributes must be a mapping of names to values"),
    ],
)
async def test_bad_vectors_are_refused_before_anything_is_sent(
    plain: AnyQueue, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        await (await added(plain)).store_vector(*arguments)


# -- without a module ---------------------------------------------------------------------------------------------


async def test_missing_module_is_told_once(plain: AnyQueue, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("numpy", reason="the extra vectors (numpy) is not installed")
    with caplog.at_level(logging.WARNING, "glidemq.search"):
        await plain.create_job_index(vector_field=EMBEDDING)
        await plain.vector_search([1, 0, 0, 0])
        await plain.vector_search([1, 0, 0, 0])
    (record,) = caplog.records
    assert UNAVAILABLE in record.getMessage() and plain.name in record.getMessage()


async def test_without_a_fallback_the_missing_module_is_an_error(plain: AnyQueue) -> None:
    with pytest.raises(SearchUnavailableError, match=UNAVAILABLE):
        await plain.create_job_index(vector_field=EMBEDDING, fallback=False)
    with pytest.raises(SearchUnavailableError, match=UNAVAILABLE):
        await plain.vector_search([1, 0, 0, 0], fallback=False)


async def test_missing_numpy_is_named_with_the_extra_that_brings_it(
    plain: AnyQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = importlib.import_module

    def no_numpy(name: str, package: str | None = None) -> Any:
        if name == "numpy":
            raise ModuleNotFoundError("No module named 'numpy'")
        return real_import(name, package)

    monkeypatch.setattr(importlib, "import_module", no_numpy)
    await plain.create_job_index(vector_field=EMBEDDING)
    with pytest.raises(ConfigurationError, match=r"pip install 'glidemq\[vectors\]'"):
        await plain.vector_search([1, 0, 0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fields": [IndexField("state")]}, "index field 'state' is given twice"),
        ({"fields": ["tenant"]}, "an index field must be an IndexField or a mapping"),
        ({"fields": [{}]}, "an index field needs name"),
        ({"fields": [{"name": "a", "type": "GEO"}]}, "type must be TAG, NUMERIC or TEXT"),
        ({"fields": [IndexField("a b")]}, "an index field's name must be made of"),
        ({"vector_field": {"name": "v"}}, "vector_field needs dimensions"),
        ({"vector_field": {}}, "vector_field needs name and dimensions"),
        ({"vector_field": VectorField("v", 0)}, "vector_field.dimensions must be an integer between"),
        ({"vector_field": VectorField("v", 2, "TREE")}, "vector_field.algorithm must be HNSW or FLAT"),  # type: ignore[arg-type]
        ({"vector_field": VectorField("v", 2, "FLAT", "L1")}, "distance_metric must be COSINE, L2 or IP"),  # type: ignore[arg-type]
        (
            {"vector_field": VectorField("a", 2), "fields": [IndexField("a")]},
            "index field 'a' is given twice",
        ),
        ({"name": ""}, "an index's name must be printable text"),
        ({"create_options": "NOHL"}, "create_options must be a sequence of texts"),
    ],
)
async def test_bad_indexes_are_refused_before_anything_is_sent(arguments: Any, message: str) -> None:
    async with AnyQueue("nowhere", connection="valkey://127.0.0.1:9") as queue:
        with pytest.raises(ValidationError, match=message):
            await queue.create_job_index(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be an integer between 1 and 10000"),
        ({"k": 10_001}, "k must be an integer between 1 and 10000"),
        ({"k": True}, "k must be an integer between 1 and 10000"),
        ({"filter": " "}, "filter must be a non-empty string"),
        ({"filter": None}, "filter must be a non-empty string"),
        ({"score_field": "a b"}, "score_field must be made of"),
        ({"return_fields": "data"}, "return_fields must be a sequence of names"),
        ({"return_fields": [5]}, "return_fields must be a sequence of names"),
        ({"return_fields": ["returnValue"]}, "did you mean 'return_value'"),
        ({"return_fields": ["colour"]}, "Unknown field of a job in return_fields 'colour': known are"),
        ({"search_options": ["A", 5]}, "search_options must be a sequence of texts"),
    ],
)
async def test_bad_searches_are_refused_before_anything_is_sent(arguments: Any, message: str) -> None:
    async with AnyQueue("nowhere", connection="valkey://127.0.0.1:9") as queue:
        with pytest.raises(ValidationError, match=message):
            await queue.vector_search([1.0], **arguments)

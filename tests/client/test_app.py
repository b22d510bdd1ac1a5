"""Declaring processors, and finding them again by `module:app`."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from glidemq.app import App
from glidemq.app_loader import import_app
from glidemq.errors import ConfigurationError, PayloadValidationError, ValidationError
from glidemq.job import Job, SyncJob
from glidemq.processor import data_type_of

if TYPE_CHECKING:
    from decimal import Decimal

app = App()


@app.processor("thumbnails", timeout=timedelta(seconds=2), lock_duration=5)
def thumbnail(job: SyncJob[Image, int]) -> int:
    return job.data.size


@app.processor("chat", concurrency=50)
async def chat(job: Job[dict[str, Any], str]) -> str:
    return "hello"


@dataclasses.dataclass
class Image:  # defined after the function whose annotation names it
    size: int


def test_processors_are_listed_with_what_was_declared() -> None:
    assert list(app.processors) == ["thumbnails", "chat"]
    sync, coroutine = app.processors.values()
    assert (sync.role, sync.concurrency, sync.timeout_ms, sync.lock_duration_ms) == ("sync", 1, 2000, 5000)
    assert (coroutine.role, coroutine.concurrency, coroutine.timeout_ms) == ("async", 50, None)
    assert sync.function is thumbnail
    with pytest.raises(TypeError):
        app.processors["x"] = sync  # type: ignore[index]


def test_payload_is_validated_into_what_the_annotation_names() -> None:
    payload = app.processors["thumbnails"].payload
    assert payload.load_data(b'{"size":3}') == Image(3)
    with pytest.raises(PayloadValidationError):
        payload.load_data(b"{}")
    assert not app.processors["chat"].payload.validates


def test_manifest_is_plain_data() -> None:
    manifest = App("valkey://h", prefix="p").manifest("m:a")
    assert manifest == {"app": "m:a", "url": "valkey://h", "prefix": "p", "pools": {}, "queues": []}
    queues = json.loads(json.dumps(app.manifest("m:a")))["queues"]
    assert [queue.pop("function").split(" ")[0] for queue in queues] == ["thumbnail", "chat"]
    assert queues == [
        {"name": "thumbnails", "role": "sync", "pool": "default", "weight": 1, "concurrency": 1, "timeout_ms": 2000,
         "lock_duration_ms": 5000, "batch": None, "limiter": False, "dead_letter_queue": None, "limits": None,
         "estimate": None, "validates": True},
        {"name": "chat", "role": "async", "pool": "default", "weight": 1, "concurrency": 50, "timeout_ms": None,
         "lock_duration_ms": None, "batch": None, "limiter": False, "dead_letter_queue": None, "limits": None,
         "estimate": None, "validates": False},
    ]  # fmt: skip


def test_second_processor_of_a_queue_is_refused_naming_both() -> None:
    fresh = App()

    @fresh.processor("q")
    def one(job: Any) -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"queue 'q' has two processors, .*one \(.*test_app.py:\d+\) and .*two"
    ):

        @fresh.processor("q")
        def two(job: Any) -> None: ...


def generator(job: Any) -> Iterator[int]:
    yield 1


async def async_generator(job: Any) -> AsyncIterator[int]:
    yield 1


def no_argument() -> None: ...


def two_arguments(job: Any, other: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (generator, "is a generator function"),
        (async_generator, "is a generator function"),
        (no_argument, "must be callable with one argument"),
        (two_arguments, "must be callable with one argument"),
        ("text", "must be a function, not str"),
        (App, "must be a function, not type"),
        (functools.partial(two_arguments, 1), "must be a function, not partial"),
    ],
)
def test_what_is_no_processor_is_refused_when_it_is_declared(
    function: Callable[..., Any], message: str
) -> None:
    fresh = App()
    with pytest.raises(ConfigurationError, match=message):
        fresh.processor("q")(function)
    assert not fresh.processors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue": "a:b"}, "Queue name must not contain curly braces or colons"),
        ({"queue": "q", "concurrency": 0}, "concurrency must be between 1 and 10000"),
        ({"queue": "q", "concurrency": 1.5}, "concurrency must be an integer"),
        ({"queue": "q", "timeout": 0}, "timeout must be a positive finite number"),
        ({"queue": "q", "lock_duration": 30_000}, "lock_duration=30_000 means 8:20:00"),
    ],
)
def test_bad_processor_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        App().processor(**options)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"url": 5}, ValidationError),
        ({"prefix": "a{"}, ValidationError),
        ({"serializer": object()}, ConfigurationError),
    ],
)
def test_bad_app_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        App(**arguments)


# -- annotations ---------------------------------------------------------------------------------------------


def unannotated(job): ...  # type: ignore[no-untyped-def]


def bare(job: Job) -> None: ...


def anything(job: Any) -> None: ...


def qualified(job: glidemq.Job[Image, None]) -> None: ...  # type: ignore[name-defined] # noqa: F821


@functools.wraps(thumbnail)
def wrapped(*args: Any) -> Any: ...


@pytest.mark.parametrize(
    ("function", "data_type"),
    [
        (unannotated, Any),
        (bare, Any),
        (anything, Any),
        (qualified, Image),
        (wrapped, Image),
        (thumbnail, Image),
    ],
)
def test_data_type_comes_from_the_job_annotation(function: Callable[..., Any], data_type: object) -> None:
    assert data_type_of(function) is data_type


def typing_only(job: Job[Decimal, None]) -> None: ...


def data_instead_of_job(job: Image) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (typing_only, "name 'Decimal' is not defined"),
        (
            data_instead_of_job,
            r"its first parameter is annotated Image, but a processor is called with a job",
        ),
    ],
)
def test_annotation_that_cannot_be_honoured_is_refused_before_any_job_runs(
    function: Callable[..., Any], message: str
) -> None:
    fresh = App()
    fresh.processor("q")(function)
    with pytest.raises(
        ConfigurationError, match=rf"(?s)^processor of queue 'q', {function.__name__}.*{message}"
    ):
        fresh.manifest()


# -- module:app ----------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of one's own whose modules are forgotten afterwards."""
    before, path = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


GOOD = "from glidemq import App\napp = App()\n\n@app.processor('q')\ndef run(job): ...\n"


@pytest.mark.parametrize(
    ("source", "spec", "message"),
    [
        ("", "", "'' does not name an app: write module:attribute, for example main:app"),
        ("", "mod_a:", "'mod_a:' does not name an app: write module:attribute, for example main:app"),
        (GOOD, "mod_b", "'mod_b' does not say which app of the module to run: it holds mod_b:app"),
        ("", "nowhere:app", "there is no module 'nowhere' in {here} or on the import path"),
        ("", "mod_c.sub:app", "there is no module 'mod_c.sub' in {here} or on"),
        (GOOD, "mod_d:application", "module 'mod_d' has no attribute 'application': it holds mod_d:app"),
        ("x = 1", "mod_e:app", "module 'mod_e' has no attribute 'app': it holds no App object (app = App())"),
        ("x = 1", "mod_f:x", "'mod_f:x' is of type int, not a glidemq.App: it holds no App object"),
        ("from glidemq import App\na = App()", "mod_g:a", "'mod_g:a' has no processors: decorate a function"),
        ("\nimport not_there_", "mod_h:a", "{here}/mod_h.py:2 raised ModuleNotFoundError: No"),
        ("def f():\n  return 1/0\nf()", "mod_i:a", "{here}/mod_i.py:2 raised ZeroDivisionError: division"),
        ("def f(:", "mod_j:a", "cannot import 'mod_j:a': {here}/mod_j.py:1 raised SyntaxError"),
        ("raise SystemExit(3)", "mod_k:a", "cannot import 'mod_k:a': {here}/mod_k.py:1 raised SystemExit: 3"),
        ("raise ValueError('a\\nb')", "mod_l:a", "mod_l.py:1 raised ValueError: a b"),
    ],
)  # fmt: skip
def test_app_that_cannot_be_loaded_is_explained_in_one_line(
    project: Path, source: str, spec: str, message: str
) -> None:
    name = spec.partition(":")[0].partition(".")[0]
    if name and name != "nowhere":
        (project / f"{name}.py").write_text(source)
    with pytest.raises(ConfigurationError) as caught:
        import_app(spec)
    assert message.format(here=project) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_app_is_imported_from_the_working_directory(project: Path) -> None:
    (project / "good_module.py").write_text(GOOD + "class Holder:\n  inner = app\n")
    assert list(import_app("good_module:app").processors) == ["q"]
    assert import_app("good_module:Holder.inner") is import_app("good_module:app")


def test_importing_an_app_imports_neither_the_server_client_nor_an_event_loop(project: Path) -> None:
    (project / "good_module.py").write_text(GOOD)
    code = (
        "import sys; from glidemq.app_loader import import_app; import_app('good_module:app')\n"
        "print([m for m in ('glide', 'uvloop', 'pydantic', 'msgspec') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_pools_are_declared_once_and_named_by_processors() -> None:
    fresh = App()
    slow = fresh.pool("slow", procs=2)
    fresh.pool("live", procs="auto")
    fresh.pool("rest")

    @fresh.processor("reports", pool=slow, weight=3)
    def report(job: Any) -> None: ...

    @fresh.processor("mails", pool="live")
    def mail(job: Any) -> None: ...

    manifest = fresh.manifest()
    assert manifest["pools"] == {"slow": 2, "live": "auto", "rest": None}
    assert [(queue["pool"], queue["weight"]) for queue in manifest["queues"]] == [("slow", 3), ("live", 1)]
    with pytest.raises(ConfigurationError, match="pool 'slow' is declared twice"):
        fresh.pool("slow")
    fresh.processor("typo", pool="slwo")(report)
    with pytest.raises(ConfigurationError, match=r"queue 'typo'.*names pool 'slwo'.*did you mean 'slow'"):
        fresh.manifest()


def test_pools_need_no_declaration_where_none_is_declared() -> None:
    fresh = App()

    @fresh.processor("mails", pool="post")
    def mail(job: Any) -> None: ...

    assert fresh.manifest()["queues"][0]["pool"] == "post"


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda fresh: fresh.pool("a b"), "a pool's name must be 1 to 64 letters"),
        (lambda fresh: fresh.pool("a", procs=0), "procs of a pool must be 'auto' or an integer from 1"),
        (lambda fresh: fresh.pool("a", procs="all"), "procs of a pool must be 'auto' or an integer from 1"),
        (lambda fresh: fresh.processor("q", pool=7), "a pool's name must be 1 to 64 letters"),
        (lambda fresh: fresh.processor("q", weight=0), "weight must be an integer from 1 to 1000"),
        (lambda fresh: fresh.processor("q", weight=1.5), "weight must be an integer from 1 to 1000"),
    ],
)
def test_bad_pools_and_weights_are_refused(declare: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        declare(App())


def test_decorator_without_a_queue_is_refused_with_the_way_to_write_it() -> None:
    bare: Any = App().processor
    with pytest.raises(ValidationError, match=r'write @app\.processor\("name"\) above the function'):

        @bare
        def process(job: Any) -> None: ...

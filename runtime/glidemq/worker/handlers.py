"""How users hear of a worker's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from glidemq.worker.worker_events import WorkerEvent, WorkerEvents

H = TypeVar("H", bound=Callable[..., Any])


class Handlers:
    """The part of a worker that takes handlers, each kind of event with arguments of its own."""

    _events: WorkerEvents

    @overload
    def on(self, event: WorkerEvent, handler: None = None) -> Callable[[H], H]: ...
    @overload
    def on(self, event: Literal["active"], handler: Callable[[Any], object]) -> None: ...
    @overload
    def on(self, event: Literal["completed", "failed"], handler: Callable[[Any, Any], object]) -> None: ...
    @overload
    def on(self, event: Literal["error"], handler: Callable[[Exception], object]) -> None: ...
    @overload
    def on(self, event: Literal["stalled"], handler: Callable[[str], object]) -> None: ...
    @overload
    def on(self, event: Literal["budget-exceeded"], handler: Callable[[str, str], object]) -> None: ...
    @overload
    def on(self, event: Literal["drained", "closing", "closed"], handler: Callable[[], object]) -> None: ...
    def on(self, event: WorkerEvent, handler: Callable[..., Any] | None = None) -> Any:
        """Call `handler` at every event of this kind; also usable as a decorator, `@worker.on("completed")`.

        active(job), completed(job, result), failed(job, error) for every failed attempt, error(error) while the
        server is away, stalled(job_id) of another worker, budget-exceeded(job_id, root_id), drained(), closing(),
        closed(). A `BroadcastWorker` has no `drained`. What a handler raises is logged; coroutines run as tasks.

        Raises ValidationError for an unknown event.
        """
        if handler is not None:
            self._events.on(event, handler)
            return None

        def register(function: H) -> H:
            self._events.on(event, function)
            return function

        return register

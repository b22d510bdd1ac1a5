"""What a processor learns from a provider about its limits, told to the whole fleet."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any

from glidemq.commands.keys import DEFAULT_PREFIX, limit_meta_key
from glidemq.commands.observe_limit import ObserveLimitCommand
from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.connection import CommandConnection, Connection
from glidemq.errors import ValidationError
from glidemq.job.surroundings import surroundings
from glidemq.options import check_prefix
from glidemq.options.limit_key import LimitKey, check_limit_key
from glidemq.options.provider_headers import Wait, remaining, wait_ms

__all__ = ["observe"]

# How long a number of remaining requests or tokens holds if nobody said when it is reset.
DEFAULT_RESET_MS = 1000


class _Done:
    """Awaited, it is over at once."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_DONE = _Done()


def observe(
    key: LimitKey,
    *,
    retry_after: Wait | None = None,
    remaining_requests: int | str | None = None,
    remaining_tokens: int | str | None = None,
    reset: Wait | None = None,
    connection: str | ConnectionOptions | None = None,
    client: Connection | None = None,
    prefix: str | None = None,
) -> Awaitable[None]:
    """Tell all hosts what a provider has said about its limits.

        await limits.observe(("openai", "gpt"), retry_after=response.headers.get("retry-after"))

    Inside a processor it uses that one's connection; elsewhere, as in a web server that calls the provider too, name
    one. In a plain `def` processor the call blocks, and there is nothing to await; else the result is to be awaited.
    Within about a second no host starts jobs of queues with this limit key that it should not; what runs goes on.
    Where every value is None, as of a response without such headers, nothing is done.

    key: the queues' `limit_key`; for a queue without one, which needs a token limiter then, its name.
    retry_after: nothing is to start for so long: seconds, timedelta, aware datetime, or a header's text such as
        "20", "1m30s" or a date; a day at most.
    remaining_requests, remaining_tokens: how much may still be used until the `reset`, all hosts together; a number
        or a header's text. Tokens count by the estimates of a token limiter.
    reset: when those numbers end to hold, given like `retry_after`; 1 s if not given.
    connection, client: as for `Queue`; a connection is opened for this call alone. prefix: what the queues' keys start
        with; None: as in the processor, else "glide".

    Raises:
        ValidationError: a key or value that cannot be, or no connection outside of a processor.
        ConnectionError: the server cannot be reached. Source: rulings 16 and 29; queue-design page, back-pressure.
    """
    text = check_limit_key(key)
    retry_ms = None if retry_after is None else wait_ms(retry_after, "retry_after")
    requests = None if remaining_requests is None else remaining(remaining_requests, "remaining_requests")
    tokens = None if remaining_tokens is None else remaining(remaining_tokens, "remaining_tokens")
    reset_ms = DEFAULT_RESET_MS if reset is None else wait_ms(reset, "reset")
    if client is not None and connection is not None:
        raise ValidationError("Provide either `connection` or `client`, not both.")
    around = surroundings()
    if around is None and client is None and connection is None:
        raise ValidationError(
            "limits.observe requires either `client` or `connection` outside of a processor"
        )
    if prefix is None:
        prefix = DEFAULT_PREFIX if around is None else around.prefix
    if retry_ms is None and requests is None and tokens is None:
        return _DONE
    command = ObserveLimitCommand(
        limit_meta_key(check_prefix(prefix), text),
        retry_ms=retry_ms,
        requests=requests,
        tokens=tokens,
        reset_ms=reset_ms,
    )
    if client is not None:
        return client.execute(command)
    if connection is not None or around is None:
        return _over_a_connection_of_its_own(resolve_connection(connection), command)
    result = around.execute(command)
    return _DONE if around.blocking else result


async def _over_a_connection_of_its_own(options: ConnectionOptions, command: ObserveLimitCommand) -> None:
    async with CommandConnection(options) as owned:
        await owned.execute(command)

"""In what this library may differ from glide-mq for Node on the server, and why; all else is a defect."""

from __future__ import annotations

from tests.interop.differ import Allowed

OWN_KEYS = Allowed(
    "x-py:*", "keys of this library's own: doorbell, cells, live workers, replies of repeatable adds"
)
OWN_FIELDS = Allowed(
    "job:*/x-py:*", "fields of this library's own: the lease token, the cell, the crash count"
)
OWN_GROUP_FIELDS = Allowed(
    "group:*/x-py:*",
    "fields of this library's own: when a limit lets the group go on, when its bucket was full last",
)

# After our own add: nothing but the doorbell is new.
AFTER_ADD = (OWN_KEYS,)
AFTER_COMPLETION = (OWN_KEYS, OWN_FIELDS, OWN_GROUP_FIELDS)

"""One host, many queues on all nodes: idle ones start at once, and those of a node that is away keep nobody up."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from glidemq import Job, Queue
from glidemq.actors.cell import Cell
from glidemq.actors.cell_settings import CellSettings
from glidemq.actors.local_link import LocalLink
from glidemq.actors.reader_set import MAX_CLUSTER_READERS
from glidemq.app import App
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection, ReaderConnection, SharedClient
from glidemq.pipeline.execution import TaskExecution
from glidemq.pipeline.in_flight import InFlight
from glidemq.pipeline.pump_context import QueueSettings
from tests.testkit.cluster import Cluster, OwnCluster, names_on_each_primary
from tests.testkit.waiting import eventually

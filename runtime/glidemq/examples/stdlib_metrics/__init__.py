"""Measures every source file of the running Python's standard library: CPU-bound, and on every machine.

python -m glidemq.examples.stdlib_metrics               everything: supervisor, producer, summary, comparison
glidemq-supervisor glidemq.examples.stdlib_metrics:app  the workers alone
python -m glidemq.examples.stdlib_metrics.produce       the producer alone
python -m glidemq.examples.stdlib_metrics.plain_loop    the same work without a queue
"""

from glidemq.examples.stdlib_metrics.processors import app

__all__ = ["app"]

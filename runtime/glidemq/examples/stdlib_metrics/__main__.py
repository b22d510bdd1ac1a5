"""`python -m glidemq.examples.stdlib_metrics` runs the whole example."""

import sys

from glidemq.examples.stdlib_metrics.run import main

sys.exit(main())

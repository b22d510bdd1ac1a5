"""`python -m glidemq_supervisor`."""

from __future__ import annotations

import sys

from glidemq_supervisor.cli import main

sys.exit(main())

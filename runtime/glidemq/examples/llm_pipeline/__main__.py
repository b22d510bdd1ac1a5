"""`python -m glidemq.examples.llm_pipeline` runs the whole example."""

import sys

from glidemq.examples.llm_pipeline.run import main

sys.exit(main())

"""How long the random lives are looked at: briefly with every run of the tests, for long where somebody hunts.

`MODEL_PROFILE=nightly` multiplies the number of lives and lengthens them; what fails is then made as short as can be,
which may take minutes. By default a failure is reported as it was found, with the seed that repeats it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

NIGHTLY = os.environ.get("MODEL_PROFILE") == "nightly"
LONGER = 40

# Seconds that one theme may take; 0: any number.
PATIENCE = 0 if NIGHTLY else 300


def lives(count: int, steps: int) -> settings:
    """Settings for a machine of which the usual run tries `count` lives of `steps` steps."""
    phases = (Phase.explicit, Phase.generate, *((Phase.shrink,) if NIGHTLY else ()))
    return settings(
        max_examples=count * LONGER if NIGHTLY else count,
        stateful_step_count=2 * steps if NIGHTLY else steps,
        phases=phases,
        derandomize=not NIGHTLY and settings().derandomize,  # every night draws others
        deadline=None,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
    )

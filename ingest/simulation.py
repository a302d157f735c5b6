"""The simulated partners that the settings ask for, in the worker or behind HTTP."""

import os
from contextlib import AbstractAsyncContextManager

from ingest.settings import Settings
from orchestration import gateways


def simulated_partners(settings: Settings) -> AbstractAsyncContextManager[gateways.Gateways]:
    """Open partners with the faults of ``SIMULATED_FAULTS``, drawn from ``SIMULATED_SEED``.

    Without a seed every process fails at other calls than its neighbours.
    """
    faults = gateways.Faults(settings.simulated_faults)
    return gateways.simulated(settings.db_url, faults, settings.simulated_seed or os.getpid())

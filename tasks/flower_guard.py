"""A guard for Flower: its metrics ask for the password too, where one is set.

Flower leaves `/metrics` open even then, and with a password it listens beyond this machine. Only
`/healthcheck`, which says no more than OK, stays open.
"""

from __future__ import annotations

import sys


def install() -> None:
    """Close the metrics of a Flower that runs in this process; elsewhere do nothing."""
    monitor = sys.modules.get("flower.views.monitor")
    if monitor is None or getattr(monitor.Metrics, "guarded", False):
        return
    from tornado.web import authenticated  # noqa: PLC0415  # Flower's, and only there

    monitor.Metrics.get = authenticated(monitor.Metrics.get)
    monitor.Metrics.guarded = True

"""Celery: the refreshes, what spreads them, and their schedule. `celery -A tasks worker`."""

from tasks.app import app as celery

__all__ = ["celery"]

"""Lets `python -m console` do what `coursepulse` does, wherever scripts are not installed."""

import sys

from console.main import main

sys.exit(main())

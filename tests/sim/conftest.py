"""Lets tests import `world` beside this file, and `graphs` of flowrun's tests."""

import sys
from pathlib import Path

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "flowrun")]

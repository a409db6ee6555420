"""``python -m thimble`` is ``thimble``."""

import sys

from .cli import main

sys.exit(main())

"""``python -m thimble`` is ``thimble``."""

import sys

from .cli.main import main

sys.exit(main())

"""`python -m tetrio`."""

import sys

from tetrio.cli import main

sys.exit(main())

"""`python -m haclient` is the command."""

import sys

from haclient.ops.main import main

sys.exit(main())

"""`python -m geosemi` is the `geosemi` command."""

import sys

from geosemi.cli.main import main

if __name__ == "__main__":
    sys.argv[0] = "geosemi"  # usage lines show what people type
    main()

"""`python -m geosemi` is the `geosemi` command."""

from geosemi.cli.main import main

if __name__ == "__main__":
    main()

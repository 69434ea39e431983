"""`python -m pilot` is the command `pilot`."""

from pilot.cli.main import main

if __name__ == "__main__":
    main()

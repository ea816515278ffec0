"""`python -m microgpt` is the command `microgpt`."""

from microgpt.cli import main

if __name__ == "__main__":
    main()

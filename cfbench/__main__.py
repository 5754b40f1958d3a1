"""`python -m cfbench`."""

from cfbench.cli import main

main()

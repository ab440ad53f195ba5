"""`python -m stepbridge.cli`."""

from stepbridge.cli import main

main()

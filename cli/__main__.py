"""`python -m cli`: how an instance is started in the background."""

from cli.main import main

main()

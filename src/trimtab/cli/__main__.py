"""`python -m trimtab.cli`: the command `trimtab`, also where its console script is not at hand."""

from trimtab.cli.main import main

main()

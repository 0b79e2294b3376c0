"""`trimtab demo`: the whole loop on this machine in under a minute, on a sample repository, checked as it is shown.

command.py   where it is made, how it ends
story.py     the acts, in the order in which they are played
checks.py    what was claimed, and whether it was true
stage.py     the repository, the server, and every command that is run
running.py   the shop as it runs: where the story looks
shop.py      writes the sample repository from the files in shop/
customers.py visits the shop, all the time
screen.py    how it looks

It knows nothing of the engine: what it does, a person can do with git, `trimtab` and a web browser.
"""

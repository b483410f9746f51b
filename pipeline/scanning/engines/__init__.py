"""Engines that are programs beside us: how they are asked, how they are, and what happens to a message that they did not see.

outside.py      those that the settings name
clamav.py, rspamd.py, spamassassin.py   what each of them speaks, over
connections.py  connections that are kept, and http.py, which is spoken over them
scores.py       what their answers mean on our scale: pure
guard.py        counts, measures, and leaves an engine alone that does not answer; by the rules of
health.py       how an engine is: pure
board.py        where every process writes that down
missing.py      what happens to a message at which an engine should have looked and did not: pure
trial.py        messages whose result everybody knows, for each of them
"""

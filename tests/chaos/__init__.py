"""Chaos: the whole service under load while its parts are killed, frozen and cut off.

``python -m tests.chaos`` (``make chaos``) starts the service as processes over real servers, lets
a seeded driver send commands and a seeded plan break things, waits until all has settled, and has
a checker judge what is left: ``checks`` share no code with the service and read only what others
can read, too (topics, tables, the partners' own books, Temporal's results). See docs/chaos.md.
"""

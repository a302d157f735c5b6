"""The REST API: commands go to the topic, reads come from PostgreSQL.

Each file is one subject; ``app`` puts them together, ``serve`` is the role.
"""

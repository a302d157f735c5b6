"""The commands of ``orders`` that talk to the REST API, and ``orders doctor``.

Only ``commands`` is imported when the program starts, and it imports typer alone.
"""

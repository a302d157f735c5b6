"""What an order is: commands, events, states, and the errors that decide what is retried.

Pure: pydantic and the standard library, no input or output. Every other room may import it.
"""

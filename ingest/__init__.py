"""The ways in: the command consumer, dead letters, settings, the command line.

Only the command line builds real adapters and wires them together.
"""

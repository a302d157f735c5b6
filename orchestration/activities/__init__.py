"""What the workflows have done for them: partner calls and writes, methods on what holds the tools.

Each may run again from any line, after a retry or on another worker after a crash: calls carry
an idempotency key, and so do writes.
"""

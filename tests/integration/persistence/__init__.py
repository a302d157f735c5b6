"""The write transaction, the queries, the outbox and its relay, over real servers."""

"""What is true: PostgreSQL. The write transaction, queries, migrations, the outbox and its relay."""

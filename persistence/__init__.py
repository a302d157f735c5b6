"""What is true: PostgreSQL. The write transaction, queries, migrations, outbox and relay."""

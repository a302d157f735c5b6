"""Real Kafka, Temporal and PostgreSQL as child processes, for development and tests."""

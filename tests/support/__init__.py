"""What several test packages share: the servers under test, topics, role processes."""

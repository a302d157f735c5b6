"""The REST API over servers of these tests' own, which may be frozen and killed."""

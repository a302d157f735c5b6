"""The story of an order and of a shipment, deterministic: see docs/workflows.md before a change."""

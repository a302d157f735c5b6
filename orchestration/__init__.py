"""How an order is driven to its end: workflows, activities, workers, and the partners they call."""

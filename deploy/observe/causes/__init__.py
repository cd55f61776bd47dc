"""Names the cause of an unhealthy workload."""

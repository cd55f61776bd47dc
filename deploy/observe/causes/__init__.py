"""Why a workload is not healthy, by name."""

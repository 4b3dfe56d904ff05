"""Operation graph and schedule to source: the seeds, and the space the schedule operator searches."""

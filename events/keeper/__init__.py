"""What every process that keeps a Postgres schema from the log has in common: projector and billing."""

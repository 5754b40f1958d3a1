"""MLflow as a projection of a run's records."""

"""MLflow, as a mirror of the record. Only this room imports mlflow, and only where it talks to a store."""

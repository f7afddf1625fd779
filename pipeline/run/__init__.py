"""The record: which run it is, what it did, how far it got. Files are the truth; MLflow mirrors them."""

"""What a study's records support: for people as a report, for Python as DataFrames (`read_study`)."""

from pipeline.findings.tables import read_study

__all__ = ["read_study"]

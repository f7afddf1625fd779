"""The sections of a report: each from the evidence to paragraphs, tables and pictures."""

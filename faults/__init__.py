"""The fault campaign: a fault is injected into real processes, then what is left is looked at.

campaign.py     what a row is, how its trials are run, kept and repeated
reference.py    the projects that trials damage, and what an uninterrupted run leaves
fuzzing/        arbitrary bytes for what reads strangers' files, guided by coverage
rows/           one module for each row of docs/reliability.md, which reliability.py writes from results/
"""

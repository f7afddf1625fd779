"""Say what is known of the rules of thumb of conf/rules.yaml: reports/rules/, from the studies' bundles in reports/.

Reads reports/<study>/records.jsonl.gz of each rule's study, which `python -m pipeline.bundle STUDY` writes; a rule
without has not been run yet. Between <!-- rules --> and <!-- end --> the README has the same table.
"""

import re

from pipeline.findings.rules import rule_results
from pipeline.findings.rules_page import readme_table, write_rules
from pipeline.storage import atomic, project
from pipeline.terminal import command

TABLE = re.compile(r"(?<=<!-- rules -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> int:
    command.arguments(__doc__, "rules").parse_args()
    rules = rule_results(project.CONF)
    folder = project.REPORTS / "rules"
    write_rules(rules, folder)
    readme = project.ROOT / "README.md"
    text = readme.read_text("utf-8")
    atomic.write_file(readme, TABLE.sub(lambda _: readme_table(rules), text))
    for one in rules.rules:
        print(f"{one.rule}: {'not run yet' if one.verdict is None else one.verdict}")
    print(f"\n{(folder / 'report.html').relative_to(project.ROOT)}")
    return 0


if __name__ == "__main__":
    command.run(main)

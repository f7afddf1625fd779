"""Choose: compose conf/ with what is typed here, keep the choice in conf/chosen.yaml, write params.yaml.

python -m pipeline.compose model=deep training=fast       variants of conf/model and conf/training
python -m pipeline.compose training.epochs=3 seed=1       single values
python -m pipeline.compose +model.blocks.block2.conv.kernel_size=3     one argument of one block
python -m pipeline.compose                                 again, after an edit in conf/
python -m pipeline.compose --reset                         forget the choice, back to the defaults
"""

import sys

from pipeline.config.compose import Choice, choose, outcome, read_choice, write
from pipeline.config.guard import option_instead
from pipeline.config.layers import layer_table
from pipeline.config.schema import Configuration
from pipeline.config.specification import specify
from pipeline.storage import project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console
from pipeline.tracking.addresses import check_address


def main() -> int:
    parser = command.arguments(__doc__, "compose")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="a variant or a value, in Hydra's grammar")
    parser.add_argument("--reset", action="store_true", help="forget the earlier choice first")
    arguments, unknown = parser.parse_known_args()
    for option in unknown:
        raise UserError(option_instead(option, sys.argv) or f"{option}: is no option of compose; --help names them.")
    before = Choice({}, {}) if arguments.reset else read_choice(project.CHOSEN)
    groups = [path.name for path in sorted(project.CONF.iterdir()) if path.name in Configuration.model_fields]
    choice = choose(before, arguments.overrides, groups)
    found = outcome(choice)
    check_address(found.configuration.tracking)
    write(found)
    changed = found.tell()
    console.print(layer_table(specify(found.configuration).layers()))
    print("params.yaml written; `dvc repro` runs it" if changed else "params.yaml holds this already")
    return 0


if __name__ == "__main__":
    command.run(main)

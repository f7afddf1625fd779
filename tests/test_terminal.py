"""What a person sees."""

import subprocess
import sys


def test_control_characters_of_a_stranger_do_not_reach_the_terminal() -> None:
    program = (
        "from pipeline.terminal import command\n"
        "from pipeline.terminal.errors import UserError\n"
        "def main():\n"
        "    raise UserError('\\x1b[31mred\\r\\x07: is no key\\n       é: \\ud800')\n"
        "command.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.decode() == "error: \\x1b[31mred\\r\\x07: is no key\n       é: \\ud800\n"

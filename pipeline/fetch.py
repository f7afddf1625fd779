"""Fetch the four raw files of the images into data/raw: from the first place in data.sources that serves them.

What is kept is decompressed and has the size and SHA-256 that data.files says.
"""

from pipeline.config.load import read_section
from pipeline.config.schema import Data
from pipeline.data.sources import fetch
from pipeline.storage import lock, project
from pipeline.terminal import command


def main() -> int:
    command.arguments(__doc__, "fetch").parse_args()
    data = read_section(project.PARAMS, Data)
    with lock.stage():
        fetch(data.files, data.sources, project.RAW)
    return 0


if __name__ == "__main__":
    command.run(main)

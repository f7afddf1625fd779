"""Pack a study into one small file, or unpack one: its records without weights, each file with its digest.

python -m pipeline.bundle kernels_by_filters                    writes reports/kernels_by_filters/records.jsonl.gz
python -m pipeline.bundle --unpack reports/…/records.jsonl.gz   brings it into runs/ and studies/

What is unpacked is compared, tracked, promoted and gets more seeds like what was trained here. A study that goes on is
packed with the runs that have ended. Nothing that is there is overwritten.
"""

from pathlib import Path

from pipeline.storage import atomic, project
from pipeline.studies.bundle import pack_study, unpack_study
from pipeline.studies.study import find_study
from pipeline.terminal import command


def main() -> int:
    parser = command.arguments(__doc__, "bundle")
    parser.add_argument("study", nargs="?", help="a study's name")
    parser.add_argument("--unpack", metavar="FILE", type=Path, help="a bundle")
    arguments = parser.parse_args()
    if (arguments.study is None) == (arguments.unpack is None):
        parser.error("name a study, or --unpack a file")
    print(_pack(arguments.study) if arguments.unpack is None else _unpack(arguments.unpack))
    return 0


def _pack(name: str) -> str:
    study = find_study(name)
    content, path = pack_study(study), project.bundle(name)
    atomic.write_file(path, content)
    left = len(study.cells) - len(study.ended)
    not_yet = f"; {left} that have not ended are not in it" if left else ""
    size = f"{len(content) / 1000:,.0f} kB"
    return f"{path.relative_to(project.ROOT)}: {len(study.ended)} runs of study {name}, {size}{not_yet}"


def _unpack(path: Path) -> str:
    study, new = unpack_study(path)
    runs = f"{len(study.ended)} runs, {new} of them new here"
    return f"study {study.name}: {runs}. `python -m pipeline.compare {study.name}` reports"


if __name__ == "__main__":
    command.run(main)

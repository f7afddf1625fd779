"""From the text of a file to a checked configuration."""

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline.configuration.arithmetic import layers
from pipeline.configuration.schema import Configuration
from pipeline.configuration.validation import refused, shown, validated
from pipeline.terminal.errors import UserError


def configured(values: object) -> Configuration:
    """`values` as a configuration whose network can exist.

    Raises ConfigurationError with every key that is wrong in itself, or the first that does not fit the others.
    """
    configuration = validated(Configuration, values)
    layers(configuration.model, configuration.data.image_shape, len(configuration.data.class_names))
    height, width, _ = configuration.data.image_shape
    shift = configuration.training.augmentation.shift
    if shift >= min(height, width):
        raise refused(
            "training.augmentation.shift",
            f"{shown(shift)} pixels would push a {height} × {width} image out of the picture. "
            f"Use at most {min(height, width) - 1}.",
        )
    return configuration


def read_params(path: Path) -> Configuration:
    """The configuration that a params.yaml holds.

    Raises UserError for a file that is no YAML, ConfigurationError for one that is no configuration.
    """
    return configured(read_yaml(path))


def read_yaml(path: Path) -> object:
    """A YAML file's values. Raises UserError where there is no file or no YAML."""
    try:
        return parsed(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: is missing. `python -m pipeline.compose` writes params.yaml from conf/.") from None


def parsed(text: str | bytes, name: str) -> object:
    """The values of a YAML text, read as DVC reads them (YAML 1.2: `1e-3` is a number, `yes` is text).

    Raises UserError that calls the text `name`.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}," if error.problem_mark else ""
        raise UserError(f"{name}:{line} {error.problem or 'is no YAML'}. Mend it there.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: is no YAML ({str(error).splitlines()[0]}).") from None

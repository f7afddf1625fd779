"""What the code does not do, by its syntax: unpickle, evaluate, call a shell, read text in the locale's encoding."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.storage import project

FILES = sorted(
    path
    for folder in ("benchmarks", "dependencies", "faults", "hydra_plugins", "pipeline")
    for path in (project.ROOT / folder).rglob("*.py")
    if "lost" not in path.parts
)
PICKLING = {"pickle", "_pickle", "cloudpickle", "dill", "marshal", "joblib", "shelve", "jsonpickle"}
CALLED = {"eval", "exec", "compile", "__import__", "system", "popen", "instantiate", "load_model", "load_module"} | {
    "read_pickle",
    "to_pickle",
}
LOADING = {"load", "save", "savez", "savez_compressed"}
"""NumPy's functions that pickle objects unless they are told not to."""


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in FILES:
        yield path, ast.parse(path.read_bytes())


def called(tree: ast.Module) -> Iterator[tuple[str, str, ast.Call]]:
    """Of each call the name of what is called, and what it is called on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, "", node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, ast.unparse(node.func.value), node


def keywords(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]


def names_encoding(name: str, owner: str, call: ast.Call, words: dict[str | None, str]) -> bool:
    """Whether a call that reads or writes text says in which encoding: the locale's need not be UTF-8."""
    if "encoding" in words:
        return True
    if name in ("read_text", "write_text"):
        return len(call.args) > (name == "write_text")
    if owner in ("gzip", "Image") or name == "GzipFile":
        # Bytes, where no mode says text.
        return "t" not in words.get("mode", "")
    if (name in ("open", "fdopen") and owner not in ("os", "webbrowser")) or (owner, name) == ("os", "fdopen"):
        # The mode is what is no name: `open(path, "rb")`, `path.open("wb")`.
        modes = [ast.unparse(mode) for mode in call.args[owner in ("", "os") :][:1]] + [words.get("mode", "")]
        return any("b" in mode for mode in modes)
    return words.get("text") != "True"


def found(tree: ast.Module) -> Iterator[str]:
    """What a module does that it must not do."""
    yield from (f"imports {name}" for name in imported(tree) if name in PICKLING)
    for name, owner, call in called(tree):
        words = keywords(call)
        # The workers' own messages are pickled by multiprocessing, between processes of one user.
        if name in CALLED and owner not in ("re", "platform") and not (owner and name in ("compile", "exec", "eval")):
            yield f"calls {name}"
        if owner == "np" and name in LOADING and words.get("allow_pickle") != "False":
            yield f"np.{name} without allow_pickle=False"
        if words.get("shell", "False") != "False":
            yield "uses a shell"
        if words.get("safe_mode", "True") != "True" or words.get("weights_only", "True") != "True":
            yield "loads a model unsafely"
        if not names_encoding(name, owner, call, words):
            yield f"{owner}.{name} without encoding"
        if owner == "yaml" and name in ("load", "load_all", "unsafe_load", "full_load"):
            safe = "Loader" in words and "Safe" in words["Loader"]
            # ruamel's object of that name, made with typ="safe".
            if not safe and "YAML(typ='safe'" not in ast.unparse(tree):
                yield f"yaml.{name} that makes objects"


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell() -> None:
    assert len(FILES) > 100
    assert {
        path.relative_to(project.ROOT).as_posix(): set(found(tree)) for path, tree in trees() if set(found(tree))
    } == {"pipeline/export.py": {"calls load_model"}}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "exec(text)",
        "os.system('a')",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.save(path, array)",
        "subprocess.run('a', shell=True)",
        "keras.saving.load_model(path)",
        "f(safe_mode=False)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "hydra.utils.instantiate(config)",
        "path.read_text()",
        "path.write_text(text)",
        "path.read_text(errors='replace')",
        "path.open()",
        "path.open('w')",
        "open(path)",
        "open(path, mode='a')",
        "os.fdopen(number, 'w')",
        "subprocess.run(command, text=True)",
    ],
)
def test_each_of_them_would_be_found(code: str) -> None:
    assert list(found(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "re.compile('a')",
        "np.load(path, allow_pickle=False)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "network.compile()",
        "path.read_text(encoding='utf-8')",
        "path.read_text('utf-8')",
        "path.write_text(text, 'utf-8')",
        "path.open('rb')",
        "open(path, 'wb')",
        "path.open('w', encoding='ascii')",
        "os.open(path, os.O_RDONLY)",
        "os.fdopen(number, 'wb')",
        "subprocess.run(command, text=True, encoding='utf-8')",
    ],
)
def test_what_is_harmless_is_not(code: str) -> None:
    assert not list(found(ast.parse(code)))


def test_a_model_is_loaded_in_one_place_and_from_weights_alone() -> None:
    loading = {
        (path.relative_to(project.ROOT).as_posix(), name)
        for path, tree in trees()
        for name, _, _ in called(tree)
        if name in ("load_weights", "load_model", "from_config", "model_from_json", "deserialize", "read_weights")
        and path.is_relative_to(project.ROOT / "pipeline")
    }
    assert loading == {
        ("pipeline/run/weights.py", "read_weights"),
        # The file that it has just written, before it is kept.
        ("pipeline/export.py", "load_model"),
    }


def test_what_is_shared_with_faults_and_benchmarks_lies_in_the_harness() -> None:
    shared = sorted((project.ROOT / "tests" / "harness").glob("*.py"))
    folders = [path for path in FILES if path.relative_to(project.ROOT).parts[0] in ("benchmarks", "faults")]
    for path in (*shared, *folders):
        for node in ast.walk(ast.parse(path.read_bytes())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            assert not (module or "").startswith("tests.test_"), f"{path}: imports {module}"


COMPUTING = "pipeline.run.train_run", "pipeline.run.evaluate_run"


def test_no_module_but_what_computes_imports_tensorflow() -> None:
    """Who plans, conducts, repairs or tells does not wait seconds for it, nor hold its 300 MB."""
    root = project.ROOT / "pipeline"
    modules = [path.relative_to(project.ROOT).with_suffix("").parts for path in sorted(root.rglob("*.py"))]
    names = [".".join(parts).removesuffix(".__init__") for parts in modules if parts[1] != "network"]
    program = (
        "import importlib, sys\n"
        f"for name in {sorted(set(names) - set(COMPUTING))}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'tensorflow' not in sys.modules, name"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

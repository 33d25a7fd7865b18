"""The house rules that a tool can check; each with code that it must catch and code that it must leave alone."""

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sharding", "verification", "incentives", "node")
EVERYTHING = (*PACKAGES, "scripts", "tests")
MAX_LINES = 300

CODE_LOADERS = ("pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")
CODE_RUNNERS = (
    *(f"{loader}.{verb}" for loader in CODE_LOADERS for verb in ("load", "loads", "Unpickler", "open")),
    *("torch.load", "yaml.load", "yaml.unsafe_load", "eval", "exec", "os.system", "os.popen"),
)
KEY_MODULES = (
    "coincurve",
    "cryptography.hazmat.primitives.asymmetric",
    "eth_account",
    "eth_keyfile",
    "eth_keys.KeyAPI",
    "eth_keys.datatypes",
    "eth_keys.keys",
    "nacl",
)

Check = Callable[[ast.Module], Iterable[int]]
"""The lines of a file that break a rule."""


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every imported name in full, wherever the import stands, and those asked of importlib by a literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func).endswith(("import_module", "__import__")):
            yield from ((arg.value, node.lineno) for arg in node.args[:1] if _is_text(arg))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name or an attribute; "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def importing(*modules: str) -> Check:
    """Lines that import one of the modules or something inside it."""
    return lambda tree: [
        line for name, line in imports(tree) if any(f"{name}.".startswith(f"{module}.") for module in modules)
    ]


def calling(*names: str) -> Check:
    """Lines that call one of the functions by its full name."""
    return lambda tree: [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func) in names
    ]


def passing(*keywords: str) -> Check:
    """Lines that pass one of the keywords anything but a literal False."""

    def check(tree: ast.Module) -> Iterator[int]:
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in keywords and ast.unparse(node.value) != "False":
                yield node.lineno

    return check


def naming(*names: str) -> Check:
    """Lines that name an attribute in full, or import it from its module."""

    def check(tree: ast.Module) -> Iterator[int]:
        yield from importing(*names)(tree)
        yield from (node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and dotted(node) in names)

    return check


def asserting(tree: ast.Module) -> list[int]:
    """Lines with an assert statement."""
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that no file may do, except those named."""

    name: str
    check: Check
    bad: tuple[str, ...]
    good: tuple[str, ...]
    within: tuple[str, ...] = PACKAGES
    allowed: tuple[str, ...] = ()  # files, or folders with a slash at the end

    def applies_to(self, path: str) -> bool:
        return not any(path == place or (place.endswith("/") and path.startswith(place)) for place in self.allowed)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


RULES = (
    Rule(
        "no format that runs code when it is read",
        importing(*CODE_LOADERS),
        ("import pickle", "from marshal import loads", "def f():\n import dill.source", "import_module('joblib')"),
        ("import json", "text = 'import pickle'", "from picklejar import lid", "import_module(name)"),
        (*PACKAGES, "scripts"),  # tests may write what must be refused, and none may read it
    ),
    Rule(
        "no function that runs what it reads",
        calling(*CODE_RUNNERS),
        ("torch.load(path)", "import yaml\nyaml.load(text)", "x = [eval(y)]", "os.system('ls')", "pickle.loads(b)"),
        ("model.eval()", "torch.loads", "yaml.safe_load(text)", "'torch.load(path)'", "pickle.dumps(x)"),
        EVERYTHING,
    ),
    Rule(
        "no shell, no remote code, no pickled arrays",
        passing("shell", "trust_remote_code", "allow_pickle"),
        ("run(x, shell=True)", "f(trust_remote_code=flag)", "np.load(p, allow_pickle=1)"),
        ("run(x, shell=False)", "shell = True", "f(trust_remote_code=False)"),
        EVERYTHING,
    ),
    Rule(
        "web3 in the chain client only",
        importing("web3"),
        ("import web3", "from web3.types import TxParams", "def f():\n from web3 import Web3"),
        ("import web3_like", "from incentives.chain import Web3Chain"),
        (*PACKAGES, "scripts"),
        ("incentives/chain.py",),
    ),
    Rule(
        "waiting in the node only",
        importing("asyncio", "aiohttp", "anyio", "trio"),
        ("import asyncio", "from asyncio import gather", "import aiohttp.web"),
        ("import concurrent.futures", "asyncio = 1"),
        allowed=("node/",),
    ),
    Rule(
        "the environment in the settings only",
        naming("os.environ", "os.environb", "os.getenv", "os.putenv"),
        ("os.environ['HOME']", "os.getenv('HOME')", "from os import environ", "import os\nf(env=os.environ | x)"),
        ("import os\nos.path.join(a)", "settings.environ", "'os.environ'"),
        allowed=("node/settings.py",),
    ),
    Rule(
        "private keys in two files only",
        importing(*KEY_MODULES),
        (
            "from coincurve import PrivateKey",
            "import eth_account",
            "from eth_account.messages import encode_defunct",
            "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey",
            "from eth_keys import keys",
        ),
        ("from cryptography import x509", "from eth_keys.exceptions import BadSignature", "import eth_accounting"),
        allowed=("incentives/signing.py", "node/identity.py"),
    ),
    Rule(
        "no assert in what is shipped",
        asserting,
        ("assert x", "def f():\n  if y:\n    assert x, 'text'"),
        ("raise AssertionError", "text = 'assert x'"),
    ),
)  # fmt: skip


@cache
def _trees() -> dict[str, ast.Module]:
    """Every python file by its path from the root."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for folder in EVERYTHING
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    """No file breaks it, save those it names."""
    broken = [
        f"{path}:{line}"
        for path, tree in _trees().items()
        if path.split("/")[0] in rule.within and rule.applies_to(path)
        for line in rule.check(tree)
    ]

    assert broken == []


@pytest.mark.parametrize(("rule", "source"), [(rule, bad) for rule in RULES for bad in rule.bad], ids=str)
def test_the_rule_catches_what_breaks_it(rule: Rule, source: str) -> None:
    """Code that breaks the rule is found."""
    assert list(rule.check(ast.parse(source))) != []


@pytest.mark.parametrize(("rule", "source"), [(rule, good) for rule in RULES for good in rule.good], ids=str)
def test_the_rule_leaves_the_rest_alone(rule: Rule, source: str) -> None:
    """Code that only looks like it is left alone."""
    assert list(rule.check(ast.parse(source))) == []


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.allowed], ids=str)
def test_what_a_rule_allows_is_used(rule: Rule) -> None:
    """An exception that nobody needs any more is taken out of the list; a file that moved is noticed."""
    idle = [
        place
        for place in rule.allowed
        if not any(path.startswith(place) and list(rule.check(tree)) for path, tree in _trees().items())
    ]

    assert idle == []


def test_the_rules_see_every_package() -> None:
    """A rule over an empty list of files would always hold."""
    assert {path.split("/")[0] for path in _trees()} == set(EVERYTHING)


def too_long(sources: dict[str, int]) -> list[str]:
    """Files past the limit, given their numbers of lines."""
    return [f"{path} has {lines} lines" for path, lines in sources.items() if lines > MAX_LINES]


def test_no_file_of_the_packages_is_too_long() -> None:
    """300 lines is the end; what is longer holds two ideas."""
    lines = {
        path: len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in _trees()
        if path.split("/")[0] in PACKAGES
    }

    assert too_long(lines) == []


def test_the_limit_of_length_is_where_it_says() -> None:
    """300 pass, 301 do not."""
    assert too_long({"at.py": MAX_LINES, "past.py": MAX_LINES + 1}) == ["past.py has 301 lines"]

"""Run the contracts' second test suite, contracts/test: Foundry's forge with the compiler of the build.

    python scripts/forge.py                        every test, 10,000 numbers for each property
    python scripts/forge.py --match-contract Court what follows goes to `forge test`

It needs npm's forge and solc in contracts/node_modules (`make forge` fetches them). Without them it says so and leaves
in peace, since the Python tests judge the same contracts; with `--require` it fails, as it does on the build server.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from incentives.errors import IncentivesError
from incentives.solc import find_compiler

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
REQUIRE = "--require"
HINT = "run `npm ci --prefix contracts`, or install Foundry; the Python tests in tests/contracts need neither"


class ForgeMissing(IncentivesError):
    """Forge or its compiler cannot be had on this machine; the text says what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the forge tests were not run: {reason}; {HINT}")


@dataclass(frozen=True, slots=True)
class Forge:
    """How to start forge, the compiler it is to use, and a PATH on which that compiler finds its node."""

    executable: Path
    compiler: Path
    path: str

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `forge test` without any network."""
        return [str(self.executable), "test", "--offline", "--use", str(self.compiler), *arguments]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": self.path}


def find_forge(contracts: Path = CONTRACTS) -> Forge:
    """Return npm's forge, else the one on PATH, with the compiler that the build would take.

    Raises: ForgeMissing.
    """
    executable = _executable(contracts)
    if executable is None:
        raise ForgeMissing(f"forge is neither in {contracts / 'node_modules'} nor on PATH")
    try:
        compiler = find_compiler(contracts)
    except IncentivesError as error:
        raise ForgeMissing(str(error)) from error
    # npm's compiler is a script whose first line asks PATH for node; a node from PyPI is not on it.
    first = Path(compiler.command[0])
    path = os.pathsep.join([str(first.parent), os.environ.get("PATH", "")])
    return Forge(executable, Path(compiler.command[-1]), path)


def _executable(contracts: Path) -> Path | None:
    """Straight to the binary: npm's wrapper starts a node for nothing."""
    packages = sorted((contracts / "node_modules" / "@foundry-rs").glob("forge-*"))
    for candidate in [package / "bin" / name for package in packages for name in ("forge", "forge.exe")]:
        if candidate.is_file():
            return candidate
    found = shutil.which("forge")
    return Path(found) if found else None


def main(arguments: list[str]) -> int:
    """Run the tests; the exit status is forge's, or 0 without forge unless it is required."""
    required = REQUIRE in arguments
    try:
        forge = find_forge()
    except ForgeMissing as error:
        print(error, file=sys.stderr)
        return 1 if required else 0
    rest = [argument for argument in arguments if argument != REQUIRE]
    return subprocess.run(forge.command(*rest), cwd=CONTRACTS, env=forge.environment(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Finds what `uvx <package>` would run, and makes it /app/server. Runs while the image is built, never after.

Run by the Python of the base and not by that of the venv, so that no .pth file of a package is executed.
What cannot be run ends the build with a line "slipway: <reason>".
"""

import compileall
import json
import os
import re
import sys
import sysconfig
from importlib.metadata import distributions
from py_compile import PycInvalidationMode

from pip._vendor.packaging.requirements import Requirement

ROOT = "/app/venv"
SCRIPT = "/app/server.py"


def refuse(reason):
    sys.stderr.write(f"slipway: {reason}\n")
    sys.exit(3)


def normalise(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def check_requirements(found):
    """That nothing is missing: what was resolved elsewhere, or for another version, may not fit."""
    for name, distribution in sorted(found.items()):
        for line in distribution.requires or []:
            needed = Requirement(line)
            if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                continue
            there = found.get(normalise(needed.name))
            if there is None:
                refuse(f"{name} needs {needed.name}, and what was resolved for it has none")
            if not needed.specifier.contains(there.version, prereleases=True):
                refuse(f"{name} needs {needed.name}{needed.specifier}, and has {there.version}")


def find_program(distribution, package, wanted):
    """The console script: the one that was asked for, the one named as the package, or the only one."""
    names = sorted(
        entry.name for entry in distribution.entry_points if entry.group == "console_scripts"
    )
    listed = ", ".join(names)
    if not names:
        refuse(f"{package} has no console script: it is a library, not a server")
    if wanted is not None:
        chosen = [name for name in names if name == wanted]
        if not chosen:
            refuse(f'{package} has no program {wanted}; "bin" may name one of: {listed}')
    else:
        chosen = (
            [name for name in names if name == package]
            or [name for name in names if normalise(name) == package]
            or names
        )
        if len(chosen) > 1:
            refuse(f'{package} has several programs and none is named as the package; "bin" may name one of: {listed}')
    folder = os.path.join(ROOT, "bin")
    file = os.path.realpath(os.path.join(folder, chosen[0]))
    if os.path.dirname(file) != folder or not os.path.isfile(file):
        refuse(f"the program {chosen[0]} of {package} is not a file of the package")
    return file


def main():
    with open("entry.json", encoding="utf-8") as file:
        entry = json.load(file)
    packages = sysconfig.get_path("purelib", "venv", {"base": ROOT, "platbase": ROOT})
    found = {normalise(one.metadata["Name"]): one for one in distributions(path=[packages])}
    check_requirements(found)
    if entry["package"] is None:
        program = SCRIPT
    else:
        program = find_program(found[entry["package"]], entry["package"], entry["bin"])
    # A link, so that the entry point of every image is the same; Python resolves it before it looks for modules.
    os.symlink(program, "/app/server")
    # By the hash and without a look at the source: times of files may not survive on the way into the image.
    compileall.compile_dir(packages, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


main()

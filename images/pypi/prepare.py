"""Resolves a Python package, and fetches what its image is built of. Runs in a throw-away container and nowhere else.

In, on stdin, a tar: request.json, and where there are any wheels/, netrc, and local/ with what lies beside the catalog.
Out, on stdout, a tar: lock.txt (every file of every package, by its hash), and where "fetch" says so entry.json, wheels/
and requirements.txt, which has the hash of each of those. What went wrong comes on stderr, as one line "slipway-<kind>:
<reason>" where it is known what it is; the kinds are missing, refused, changed and denied.
"""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from urllib.parse import urlsplit

from pip._vendor.packaging.specifiers import SpecifierSet
from pip._vendor.packaging.utils import parse_wheel_filename

IN = "/tmp/in"
OWN = "/tmp/own"
OUT = "/tmp/out"
REPORT = "/tmp/report.json"
QUIET = ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--no-color"]

DENIED = re.compile(r"\b40[13] (?:Client )?Error\b|HTTP error 40[13]")


class Failed(Exception):
    pass


def stop(kind, reason):
    line = " ".join(f"slipway-{kind}: {reason}".split())
    sys.stderr.write(f"{line}\n")
    sys.exit(3)


def deny():
    stop("denied", "the index asks for credentials, or refuses those that it was given")


def normalise(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pip(*arguments):
    """Runs pip; what it says, which is told to people, is kept with the failure."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800", "PYTHONDONTWRITEBYTECODE": "1"}
    if os.path.exists(f"{IN}/netrc"):
        environment["NETRC"] = f"{IN}/netrc"
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace", check=False,
    )
    if done.returncode != 0:
        raise Failed(done.stdout + done.stderr)
    return done.stdout


def find_options(request):
    """Where packages are looked for."""
    if request["offline"]:
        return ["--no-index", f"--find-links={IN}/wheels"]
    index = request["index"]
    if index is None:
        return []
    parts = urlsplit(index)
    # Whoever names an index without TLS has said so.
    trusted = [f"--trusted-host={parts.netloc}"] if parts.scheme == "http" else []
    return [f"--index-url={index}", *trusted]


def read_own(kind, options):
    """The name and the file of what lies beside the catalog; a folder becomes a wheel first."""
    if kind == "folder":
        pip("wheel", *QUIET, *options, "--no-deps", f"--wheel-dir={OWN}", f"{IN}/local")
    else:
        for name in os.listdir(f"{IN}/local"):
            os.rename(f"{IN}/local/{name}", f"{OWN}/{name}")
    (wheel,) = os.listdir(OWN)
    try:
        name, _, _, _ = parse_wheel_filename(wheel)
    except ValueError as error:
        stop("refused", f"{wheel} is not named as a wheel is: {error}")
    # By its path: an index may have another of the same name.
    return name, f"{OWN}/{wheel}"


def read_script(path):
    """What a script says that it needs, as PEP 723 has it."""
    import tomllib

    with open(path, encoding="utf-8", errors="strict") as file:
        try:
            text = file.read()
        except UnicodeDecodeError:
            stop("refused", "the script is not UTF-8")
    blocks = re.findall(r"(?m)^# /// script$\s(?P<content>(?:^#(?:| .*)$\s)+)^# ///$", text)
    if len(blocks) > 1:
        stop("refused", "the script has more than one block of metadata")
    lines = [line[2:] if line.startswith("# ") else line[1:] for line in "".join(blocks).splitlines()]
    try:
        metadata = tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        stop("refused", f"the metadata of the script cannot be read: {error}")
    python = metadata.get("requires-python", "")
    here = ".".join(map(str, sys.version_info[:3]))
    if not SpecifierSet(python).contains(here):
        stop("refused", f"the script needs Python {python}, and the image has {here}")
    needed = metadata.get("dependencies", [])
    for one in needed:
        if not isinstance(one, str) or not re.match(r"[A-Za-z0-9]", one) or "\n" in one or " @ " in one:
            stop("refused", f"the script needs {one!r}, which is not a package of an index")
    return needed


def resolve(requirements, request, options):
    """The lock: each package that it takes, in its exact version, with the hash of the file that was chosen."""
    if not requirements:
        return ""
    kind = [] if request["sources"] else ["--only-binary=:all:"]
    try:
        pip("install", *QUIET, *options, *kind, "--dry-run", "--ignore-installed", f"--report={REPORT}", "--", *requirements)
    except Failed as failure:
        explain(str(failure), request, options)
    with open(REPORT, encoding="utf-8") as file:
        items = json.load(file)["install"]
    lines = []
    for item in items:
        name, version = normalise(item["metadata"]["name"]), item["metadata"]["version"]
        url = item["download_info"]["url"]
        # The operator's own is known by its content already, and no lock has to be written anew for it.
        if url.startswith(f"file://{OWN}/"):
            continue
        if item["is_direct"]:
            stop("refused", f"{name} comes by a URL, {url}, and not from an index")
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    return "".join(sorted(lines))


def versions(name, options):
    """Which there are, be it as a wheel or as their source. Asks the index and runs nothing of any."""
    try:
        # What an index says of credentials is told to whoever wants to hear everything, and to nobody else.
        said = pip("index", "versions", *QUIET, *options, "-vv", "--pre", "--", name)
    except Failed as failure:
        if DENIED.search(str(failure)):
            deny()
        return []
    return re.search(r"Available versions: (.*)", said).group(1).split(", ")


def explain(log, request, options):
    """Ends with what a failure of the resolution means, or hands it on."""
    if DENIED.search(log):
        deny()
    if "Retrying (" in log or "connection error" in log:
        raise Failed(log)
    changed = re.search(r"(?m)^ {4}(\S+)(?: from .*)?:$\s+Expected sha256", log)
    if changed is not None:
        stop("changed", f"{changed.group(1)} is not the file that it was when its hash was recorded.")
    python = re.search(r"Package '(.+)' requires a different Python: (\S+) not in '(.+)'", log)
    if python is not None:
        stop("refused", f"{python.group(1)} needs Python {python.group(3)}, and the image has {python.group(2)}")
    conflict = re.search(r"The conflict is caused by:\n((?: {4}.*\n)+)", log)
    if conflict is not None:
        stop("refused", f"what it needs does not go together: {'; '.join(conflict.group(1).splitlines())[:1000]}")
    wanted = re.search(r"satisfies the requirement (\S.*) \(from versions: (.*)\)", log)
    if wanted is None:
        raise Failed(log)
    text = wanted.group(1)
    name = re.match(r"[A-Za-z0-9._-]+", text).group(0)
    every = versions(name, options)
    # What the index has, and was no choice, since no wheel of it fits.
    sources = set(every) - set(wanted.group(2).split(", "))
    specifier = re.search(r"^[^=<>!~]*((?:[=<>!~]=?=?[^ ]+)?)", text).group(1)
    if not request["sources"] and any(SpecifierSet(specifier).contains(one, prereleases=True) for one in sources):
        stop("refused", f'{text} has no wheel that fits, and building one from its source runs its code: "installScripts": true in the entry allows that')
    other = re.search(r"Ignored the following versions that require a different python version: (.*)", log)
    if other is not None:
        here = ".".join(map(str, sys.version_info[:3]))
        stop("refused", f"{text} needs another Python, and the image has {here}: {other.group(1)[:200]}")
    there = f"; there are {', '.join(every[:10])}" if every else ""
    where = "the folder of wheels" if request["offline"] else "the index"
    stop("missing", f"{where} has no {text}{there}.")


def fetch(lock, request, options):
    """Everything that is installed, as wheels in OUT."""
    os.makedirs(OUT)
    if lock:
        with open("/tmp/lock.txt", "w", encoding="utf-8") as file:
            file.write(lock)
        kind = [] if request["sources"] else ["--only-binary=:all:"]
        try:
            pip("wheel", *QUIET, *options, *kind, "--require-hashes", "--no-deps", f"--wheel-dir={OUT}", "--requirement=/tmp/lock.txt")
        except Failed as failure:
            explain(str(failure), request, options)
    for name in os.listdir(OWN):
        os.rename(f"{OWN}/{name}", f"{OUT}/{name}")


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def main():
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
        tar.extractall(IN, filter="data")
    os.makedirs(OWN)
    with open(f"{IN}/request.json", encoding="utf-8") as file:
        request = json.load(file)
    options = find_options(request)
    requirements = request["requirements"]
    package = request["package"]
    if request["local"] == "script":
        requirements += read_script(f"{IN}/local/server.py")
    elif request["local"] is not None:
        package, file = read_own(request["local"], options)
        requirements.append(file)
    lock = request["lock"]
    if lock is None:
        lock = resolve(requirements, request, options)
    if request["fetch"]:
        fetch(lock, request, options)
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        add(tar, "lock.txt", lock.encode())
        if not request["fetch"]:
            return
        add(tar, "entry.json", json.dumps({"package": package, "bin": request["bin"]}).encode())
        lines = []
        for name in sorted(os.listdir(OUT)):
            package, version, _, _ = parse_wheel_filename(name)
            with open(f"{OUT}/{name}", "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{package}=={version} --hash=sha256:{digest}\n")
            tar.add(f"{OUT}/{name}", f"wheels/{name}")
        add(tar, "requirements.txt", "".join(lines).encode())


try:
    main()
except Failed as failure:
    # The end of it says what went wrong; the rest is progress.
    sys.stderr.write(str(failure)[-8000:])
    sys.exit(1)

"""Programs that know http_proxy and https_proxy, through a forward listener of the real daemon.

Each does what it is for (a download, an installation, a clone), by names that the proxy alone can resolve; and
each says, in its own words, that it was refused where the list has no such destination.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import needs_command
from tests.support.forward_place import FORBIDDEN, Place, open_place

pytestmark = needs_command


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with open_place(tmp_path_factory.mktemp("forward")) as opened:
        yield opened


def succeeded(ran: subprocess.CompletedProcess[str]) -> str:
    """What it printed."""
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout


def failed(ran: subprocess.CompletedProcess[str]) -> str:
    """What it printed, all of it."""
    assert ran.returncode != 0
    return ran.stderr + ran.stdout


# --- wget and Python's libraries ------------------------------------------------------------------


@needs("wget")
def test_wget(place: Place) -> None:
    words = ["wget", "-q", "-O-", f"--ca-certificate={place.ca}"]

    assert succeeded(place.run([*words, f"{place.http}/file"])) == "content\n"
    assert succeeded(place.run([*words, f"{place.https}/file"])) == "content\n"
    for scheme in ("http", "https"):
        refused = failed(place.run(["wget", "-O-", f"{scheme}://{FORBIDDEN}/"]))
        assert "Forbidden" in refused


REQUESTS = """
import requests, sys
print(requests.get(sys.argv[1], verify=sys.argv[2]).text, end="")
try:
    print(requests.get(sys.argv[3]).status_code)
except requests.exceptions.ProxyError as error:
    print(error)
"""

HTTPX = """
import httpx, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with httpx.Client(verify=context) as client:
    print(client.get(sys.argv[1]).text, end="")
    try:
        print(client.get(sys.argv[3]).status_code)
    except httpx.ProxyError as error:
        print(error)
"""

URLLIB = """
import ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
print(urllib.request.urlopen(sys.argv[1], context=context).read().decode(), end="")
try:
    urllib.request.urlopen(sys.argv[3])
except urllib.error.URLError as error:
    print(error)
"""


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("program", [REQUESTS, HTTPX, URLLIB], ids=["requests", "httpx", "urllib"])
def test_a_library(place: Place, program: str, scheme: str) -> None:
    url = {"http": place.http, "https": place.https}[scheme]
    words = [sys.executable, "-c", program, f"{url}/file", place.ca, f"{scheme}://{FORBIDDEN}/"]

    content, refused = succeeded(place.run(words)).split("\n", 1)
    assert content == "content"
    assert "403" in refused


# --- pip ------------------------------------------------------------------------------------------


def put_wheel(folder: Path) -> None:
    """A simple index (PEP 503) with one package in it."""
    at = folder / "simple" / "hello"
    at.mkdir(parents=True, exist_ok=True)
    name = "hello-1.0-py3-none-any.whl"
    files = {
        "hello.py": "WORDS = 'hello'\n",
        "hello-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n",
        "hello-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={digest(text)},{len(text)}\n" for path, text in files.items())
    files["hello-1.0.dist-info/RECORD"] = record + "hello-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(at / name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    (at / "index.html").write_text(f'<!DOCTYPE html><a href="{name}">{name}</a>')


def digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_pip(place: Place, scheme: str, tmp_path: Path) -> None:
    put_wheel(place.folder)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--isolated",
        "--disable-pip-version-check",
        "--no-cache-dir",
    ]
    pip += ["--retries", "0"]
    url = {"http": place.http, "https": place.https}[scheme]
    index = ["--index-url", f"{url}/simple/", "--trusted-host", "files.test", "--cert", place.ca]
    target = ["install", "--no-deps", "--target", str(tmp_path)]
    succeeded(place.run([*pip, *target, *index, "hello"]))
    assert (tmp_path / "hello.py").read_text() == "WORDS = 'hello'\n"

    wheel = f"{scheme}://{FORBIDDEN}/hello-1.0-py3-none-any.whl"
    assert "403" in failed(place.run([*pip, *target, "--upgrade", wheel]))


# --- git ------------------------------------------------------------------------------------------


@needs("git")
def test_git(place: Place, tmp_path: Path) -> None:
    work, bare = tmp_path / "work", place.folder / "hello.git"
    author = ["-c", "user.name=A", "-c", "user.email=a@b.test"]
    for words in (
        ["init", "-q", str(work)],
        ["-C", str(work), *author, "commit", "-q", "--allow-empty", "-m", "First"],
        ["clone", "-q", "--bare", str(work), str(bare)],
        ["-C", str(bare), "update-server-info"],
    ):
        succeeded(place.run(["git", *words]))
    for name, url in (("plain", place.http), ("tls", place.https)):
        copy = str(tmp_path / name)
        succeeded(
            place.run(["git", "clone", "-q", f"{url}/hello.git", copy], GIT_SSL_CAINFO=place.ca)
        )
        assert "First" in succeeded(place.run(["git", "-C", copy, "log", "--oneline"]))
    for scheme in ("http", "https"):
        words = ["git", "clone", "-q", f"{scheme}://{FORBIDDEN}/hello.git", str(tmp_path / "no")]
        assert "403" in failed(place.run(words))


# --- npm ------------------------------------------------------------------------------------------


def put_package(folder: Path, registry: str) -> None:
    """A registry with one package in it."""
    at = folder / "npm"
    at.mkdir(exist_ok=True)
    data = io.BytesIO()
    content = json.dumps({"name": "hello", "version": "1.0.0"}).encode()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/package.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    (at / "hello-1.0.0.tgz").write_bytes(data.getvalue())
    shasum = hashlib.sha1(data.getvalue(), usedforsecurity=False).hexdigest()
    dist = {"tarball": f"{registry}/hello-1.0.0.tgz", "shasum": shasum}
    version = {"name": "hello", "version": "1.0.0", "dist": dist}
    whole = {"name": "hello", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    (at / "hello").write_text(json.dumps(whole))


@needs("npm")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_npm(place: Place, scheme: str, tmp_path: Path) -> None:
    registry = {"http": place.http, "https": place.https}[scheme] + "/npm"
    put_package(place.folder, registry)
    variables = {
        "npm_config_cache": str(tmp_path / "cache"),
        "npm_config_cafile": place.ca,
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
        "npm_config_fetch_retries": "0",
    }
    words = ["npm", "install", "--prefix", str(tmp_path), "hello", "--registry"]
    succeeded(place.run([*words, f"{registry}/"], **variables))
    assert (tmp_path / "node_modules" / "hello" / "package.json").exists()

    refused = failed(
        place.run([*words[:-2], "other", "--registry", f"{scheme}://{FORBIDDEN}/"], **variables)
    )
    assert "403" in refused


# --- apt ------------------------------------------------------------------------------------------


def put_deb(folder: Path, room: Path) -> None:
    """A repository without folders of its own, with one package in it."""
    at, tree = folder / "apt", room / "tree"
    at.mkdir(exist_ok=True)
    control = (
        "Package: haclient-hello\nVersion: 1.0\nArchitecture: all\n"
        "Maintainer: A <a@b.test>\nDescription: says nothing\n"
    )
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(control)
    deb = at / "haclient-hello_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(tree), str(deb)], check=True, capture_output=True)
    data = deb.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    entry = f"Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {digest}\n"
    (at / "Packages").write_text(control + entry)


def apt(place: Place, root: Path, source: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs apt-get on a root of its own."""
    for name in ("etc/preferences.d", "etc/trusted.gpg.d", "lists/partial", "archives/partial"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    (root / "sources.list").write_text(f"deb [trusted=yes] {source} ./\n")
    settings = {
        "Dir::Etc": f"{root}/etc",
        "Dir::Etc::sourcelist": f"{root}/sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": str(root),
        "Dir::State::lists": f"{root}/lists",
        "Dir::State::status": f"{root}/status",
        "Dir::Cache": str(root),
        "Dir::Cache::archives": f"{root}/archives",
        "Acquire::http::Proxy": place.proxy.url,
        "Acquire::https::Proxy": place.proxy.url,
        "Acquire::https::CaInfo": place.ca,
        "Acquire::Retries": "0",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    return place.run(["apt-get", "-q", *options, *words], APT_CONFIG="/dev/null")


@needs("apt-get", "dpkg-deb")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_apt(place: Place, scheme: str, tmp_path: Path) -> None:
    put_deb(place.folder, tmp_path)
    source = {"http": place.http, "https": place.https}[scheme] + "/apt"
    succeeded(apt(place, tmp_path / "root", source, "update"))
    words = ["--download-only", "--yes", "--no-install-recommends", "install", "haclient-hello"]
    succeeded(apt(place, tmp_path / "root", source, *words))
    assert (tmp_path / "root" / "archives" / "haclient-hello_1.0_all.deb").exists()

    other = tmp_path / "other"
    refused = apt(place, other, f"{scheme}://{FORBIDDEN}/apt", "update")
    assert "403" in refused.stderr + refused.stdout
    assert list((other / "lists").glob("*Packages")) == []

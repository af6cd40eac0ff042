"""Each check, on this machine and on machines that lack what it looks for."""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from haclient.core.spec import TlsSettings
from haclient.net.resolver import SystemResolver
from haclient.ops import doctor_checks
from haclient.ops.doctor_checks import Check, Grade, caps_window_probes, checks

NAMES = [
    "kernel",
    "TCP_INFO",
    "keep-alive",
    "TCP_RTO_MAX_MS",
    "IP_RECVERR",
    "socket filter",
    "IPv6",
    "name servers",
    "hosts file",
    "CA bundle",
    "descriptors",
    "Python",
    "libraries",
]


def by_name() -> dict[str, Check]:
    return {check.name: check for check in checks()}


def test_every_check_is_made_and_what_is_not_in_order_has_advice() -> None:
    found = list(checks())
    assert [check.name for check in found] == NAMES
    for check in found:
        assert check.found
        assert bool(check.advice) is (check.grade is not Grade.OK)


def test_the_project_is_tested_on_a_machine_in_order() -> None:
    found = by_name()
    for name in ("TCP_INFO", "keep-alive", "IP_RECVERR", "socket filter", "libraries"):
        assert found[name].grade is Grade.OK, found[name]


def refused(
    option: Callable[[socket.socket], None], family: socket.AddressFamily = socket.AF_INET
) -> str:
    return "Protocol not available"


def test_a_kernel_that_refuses_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "refusal", refused)
    monkeypatch.setattr(doctor_checks, "tcp_info_works", lambda: False)
    found = by_name()
    assert {name: found[name].grade for name in NAMES[1:7]} == {
        "TCP_INFO": Grade.FAIL,
        "keep-alive": Grade.FAIL,
        "TCP_RTO_MAX_MS": Grade.WARN,
        "IP_RECVERR": Grade.WARN,
        "socket filter": Grade.WARN,
        "IPv6": Grade.WARN,
    }
    assert "Protocol not available" in found["keep-alive"].found
    assert not caps_window_probes()


def test_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "IS_LINUX", False)
    found = by_name()
    assert found["kernel"].grade is Grade.WARN
    assert found["IP_RECVERR"].found == "cannot be set: not on this system"
    assert found["TCP_RTO_MAX_MS"].grade is Grade.WARN


def test_an_option_that_does_not_exist_says_why() -> None:
    def set_nonsense(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, 9999, 1)

    assert doctor_checks.refusal(set_nonsense) == "Protocol not available"


def test_a_resolver_without_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = SystemResolver(
        hosts_path=str(tmp_path / "hosts"), resolv_conf_path=str(tmp_path / "resolv.conf")
    )
    monkeypatch.setattr(doctor_checks, "SystemResolver", lambda: missing)
    found = by_name()
    assert found["name servers"].grade is Grade.WARN
    assert found["hosts file"].grade is Grade.WARN
    assert str(tmp_path / "resolv.conf") in found["name servers"].advice


def test_a_resolver_with_its_search_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text(
        "nameserver 10.0.0.53\nnameserver 10.0.0.54\nsearch a.test b.test\noptions ndots:3\n"
    )
    here = SystemResolver(resolv_conf_path=str(tmp_path / "resolv.conf"))
    monkeypatch.setattr(doctor_checks, "SystemResolver", lambda: here)
    found = by_name()["name servers"].found
    assert found.startswith("10.0.0.53, 10.0.0.54; search a.test b.test; ndots 3; ")


# --- trust ----------------------------------------------------------------------------------------


def trusting(context: ssl.SSLContext) -> Callable[[TlsSettings], ssl.SSLContext]:
    return lambda _: context


def test_no_authority_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(doctor_checks, "make_context", trusting(empty))
    check = by_name()["CA bundle"]
    assert (check.grade, check.found) == (Grade.FAIL, "not found, or empty")


def test_a_directory_of_hashed_names_is_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("01234567.0", "89abcdef.0", "README"):
        (tmp_path / name).touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(doctor_checks, "make_context", trusting(empty))
    check = by_name()["CA bundle"]
    assert (check.grade, check.found) == (Grade.OK, f"2 authorities, {tmp_path}")


def test_a_bundle_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: TlsSettings) -> ssl.SSLContext:
        raise ssl.SSLError("bad bundle")

    monkeypatch.setattr(doctor_checks, "make_context", fail)
    check = by_name()["CA bundle"]
    assert check.grade is Grade.FAIL
    assert "bad bundle" in check.found


# --- the process ----------------------------------------------------------------------------------

INFINITY = resource.RLIM_INFINITY

LIMITS = {
    "plenty": ((20000, 20000), Grade.OK, "20000, up to 20000"),
    "the usual": ((1024, 4096), Grade.OK, "1024, up to 4096"),
    "no limit": ((INFINITY, INFINITY), Grade.OK, "no limit, up to no limit"),
    "little": ((256, INFINITY), Grade.WARN, "256, up to no limit"),
    "too little": ((32, 32), Grade.FAIL, "32, up to 32"),
}


@pytest.mark.parametrize(("limits", "grade", "found"), LIMITS.values(), ids=LIMITS)
def test_descriptors(
    limits: tuple[int, int], grade: Grade, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    check = by_name()["descriptors"]
    assert (check.grade, check.found) == (grade, found)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "h11":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor_checks, "version", version)
    check = by_name()["libraries"]
    assert (check.grade, check.found) == (Grade.FAIL, "h11 not installed")
    assert check.advice.endswith("pip install h11")

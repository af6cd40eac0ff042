"""The configuration as it is in force, in the names of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import Config, ListenerSettings, Mode, TcpBind
from haclient.core.url import parse_url
from haclient.ops.config_file import load
from haclient.ops.config_keys import LISTENER, TARGET, Keys
from haclient.ops.config_view import config_view

FILE = """
[daemon]
drain_timeout = "5s"

[target.orders]
urls = ["http://user:hunter2@a.internal:8080/v1", "https://b.internal"]
failover_window = "5s"
failover_statuses = [503, 502]
order = "shuffled"
tls = { min_version = "1.3" }

[listener.door]
bind = "unix:/run/haclient/orders.sock"
routes = [{ host = "a.local", path = "/v1/", target = "orders" }]
max_content = "1MiB"

[admin]
bind = "127.0.0.1:9900"

[log]
level = "warning"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "haclient.toml"
    path.write_text(FILE)
    return load(str(path))


def served(keys: Keys) -> list[str]:
    return [name for name, key in keys.items() if not key.is_later]


def test_every_key_of_the_file(config: Config) -> None:
    view = msgspec.json.decode(msgspec.json.encode(config_view(config)))

    assert list(view["target"]["orders"]) == served(TARGET)
    assert list(view["listener"]["door"]) == served(LISTENER)
    assert view["target"]["orders"]["failover_window"] == 5.0
    assert view["target"]["orders"]["failover_statuses"] == [502, 503]
    assert view["target"]["orders"]["order"] == "shuffled"
    assert view["target"]["orders"]["tls"]["min_version"] == "1.3"
    assert view["listener"]["door"]["bind"] == "unix:/run/haclient/orders.sock"
    assert view["listener"]["door"]["routes"] == [
        {"host": "a.local", "path": "/v1/", "target": "orders"}
    ]
    assert view["listener"]["door"]["max_content"] == 1 << 20
    assert view["admin"] == {"bind": "127.0.0.1:9900"}
    assert view["log"] == {"format": "text", "level": "warning", "access": True}
    assert view["resolver"]["stale_for"] == 3600.0
    assert view["daemon"] == {"drain_timeout": 5.0, "replay_memory": 32 << 20}


def test_no_secret(config: Config) -> None:
    backup = parse_url("http://b.internal/?api_key=s3cret&page=1")
    orders = msgspec.structs.replace(config.targets["orders"], backups=(backup,))
    config = msgspec.structs.replace(config, targets={"orders": orders})
    text = msgspec.json.encode(config_view(config)).decode()

    assert "hunter2" not in text
    assert "user" not in text
    assert "s3cret" not in text
    assert "http://***@a.internal:8080/v1" in text
    assert "http://b.internal/?api_key=***&page=1" in text


def test_without_an_admin_endpoint(config: Config) -> None:
    assert config_view(msgspec.structs.replace(config, admin=None))["admin"] is None


def test_whom_a_forward_proxy_may_be_used_to_reach() -> None:
    rules = AllowList((parse_rule("*.internal:*"), parse_rule("10.0.0.0/8:443")))
    bind = TcpBind("127.0.0.1", 3128)
    proxy = ListenerSettings(name="proxy", bind=bind, mode=Mode.FORWARD, allow=rules)
    view: Any = config_view(Config(targets={}, listeners=(proxy,)))

    assert view["listener"]["proxy"]["mode"] == "forward"
    assert view["listener"]["proxy"]["allow"] == ["*.internal:*", "10.0.0.0/8:443"]

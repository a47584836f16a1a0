"""The client finds a server on this machine whatever proxy the environment names."""

from __future__ import annotations

import pytest
import requests

from cir_assets.client import Search, SearchRefused
from tests.serving.conftest import Shop, address, encoded, served_shop

__all__ = ["address", "encoded", "served_shop"]


@pytest.fixture(autouse=True)
def company(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy for all that leaves the machine, at an address where none is."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_directly(served_shop: tuple[Shop, str], host: str) -> None:
    shop, address = served_shop
    client = Search(address.replace("127.0.0.1", host) + "/")
    assert len(client.search("boutique", shop.pictures["image"][0], "is red", top=3)) == 3
    with pytest.raises(SearchRefused, match="404: there is no data set 'none'"):
        client.search("none", "x", "is red")


@pytest.mark.parametrize(
    "host", ["shop.example", "10.1.2.3", "localhost.shop.example", "127.0.0.1.shop.example"]
)
def test_another_machine_is_asked_by_the_companys_proxy(host: str) -> None:
    with pytest.raises(requests.exceptions.ProxyError):
        Search(f"http://{host}:8765", timeout=5).datasets()

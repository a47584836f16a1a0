"""What is no name is a usage error, before anything begins."""

from __future__ import annotations

import pytest

from tests.command_line.conftest import ran


@pytest.mark.parametrize("dataset", ["", "/etc", "..", "*", "Wardrobe", 'a" or key:"b'])
@pytest.mark.parametrize("command", [["search", "--reference", "a", "--text", "b"], ["demo"], ["ladder"]])
def test_what_is_no_name_of_a_data_set_is_a_usage_error(command: list[str], dataset: str) -> None:
    refused = ran(*command, "--dataset", dataset)
    assert refused.exit_code == 2
    assert "is no name: lower-case letters, digits and underscores" in refused.output


@pytest.mark.parametrize(
    "name", ["https://shop.example", "shop.example:443", "shop.example/cir", "a b", "*example", "é"]
)
def test_what_is_no_name_of_a_host_is_a_usage_error(name: str) -> None:
    refused = ran("serve", "--trusted-host", name)
    assert refused.exit_code == 2
    assert "is no name of a host; expected one without https:// and without a port" in " ".join(
        refused.output.split()
    )

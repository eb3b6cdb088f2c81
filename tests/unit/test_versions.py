"""Which libraries are too old to run with."""

import pytest

from relay.app.versions import check_versions, installed, numbers
from relay.errors import ConfigError


def test_what_is_installed_here_is_new_enough_and_complete() -> None:
    libraries = installed()
    assert {"aiosmtplib", "aiosmtpd", "sanic", "asyncpg"} <= {name for name, _, _ in libraries}
    check_versions(libraries)


@pytest.mark.parametrize("found", ["5.1.2", "5.1", "4.9.9", "5.1.2.post1", ""])
def test_a_version_below_the_least_is_refused_with_what_to_do(found: str) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'aiosmtplib>=5\.1\.3'"):
        check_versions([("aiosmtplib", "5.1.3", found)])


@pytest.mark.parametrize("found", ["5.1.3", "5.1.10", "5.2", "6", "5.1.3+local", "5.1.3.0"])
def test_a_version_from_the_least_on_is_taken(found: str) -> None:
    check_versions([("aiosmtplib", "5.1.3", found)])


def test_a_zero_at_the_end_means_nothing() -> None:
    assert numbers("1.2.0") == numbers("1.2") == (1, 2)

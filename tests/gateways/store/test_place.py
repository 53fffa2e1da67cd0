"""What a REDIS_URL says."""

import pytest

from gateways.store.connection import layer_host
from gateways.store.place import Engine, Login, Place


def test_one_server_is_left_to_redis_py() -> None:
    for url in ("redis://h", "rediss://u:p@h:1/2", "unix:///tmp/s?db=1"):
        place = Place.of(url)
        assert (place.engine, place.url, place.addresses) == (Engine.SINGLE, url, ())
    assert Place.of("redis://:p@h").login.password == "p"
    assert Place.of("redis://h").hosts == ["h"]
    assert Place.of("unix:///tmp/s").hosts == []


def test_sentinels() -> None:
    place = Place.of("redis+sentinel://u:p%40@a,b:1,[::1]:2/players/3?password=q%26&username=s")
    assert place.engine is Engine.SENTINEL
    assert place.addresses == (("a", 26379), ("b", 1), ("::1", 2))
    assert (place.service, place.database, place.tls) == ("players", 3, False)
    assert place.login == Login("u", "p@")
    assert place.sentinel_login == Login("s", "q&")
    assert place.hosts == ["a", "b", "::1"]


def test_a_cluster() -> None:
    place = Place.of("rediss+cluster://:p@a,b:7001")
    assert place.engine is Engine.CLUSTER
    assert place.addresses == (("a", 6379), ("b", 7001))
    assert place.login == Login(None, "p")
    assert place.tls


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "redis://",
            "http://h",
            "redis://h:0",
            "unix://",
            "redis+other://h",
            "unix+cluster://h",
        ),
        *("redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel:///name"),
        *("redis+sentinel://a/name/x", "redis+sentinel://a/name?db=1", "redis+sentinel://a,/name"),
        *("redis+cluster://", "redis+cluster://a,,b", "redis+cluster://a:x", "redis+cluster://a:0"),
        *("redis+cluster://a/1", "redis+cluster://a?x=1"),
    ],
)
def test_what_is_no_place_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whoever reads the environment says which
        Place.of(url)


@pytest.mark.parametrize(
    "url", ["redis://h", "redis+sentinel://a,b/players", "redis+cluster://a,b", "unix:///s"]
)
def test_the_channel_layer_never_repeats_and_always_ends(url: str) -> None:
    host = layer_host(Place.of(url), timeout_seconds=2)
    assert host["socket_timeout"] == host["socket_connect_timeout"] == 2
    assert host["retry"].get_retries() == 0
    assert ("socket_keepalive" in host) == (not url.startswith("unix"))

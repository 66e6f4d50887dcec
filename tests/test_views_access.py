"""Who may read the endpoints, and that nothing a client sends raises."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otelmon import faults
from otelmon.views.negotiation import prefers_openmetrics, takes_gzip
from otelmon.views.ops import OpsApp
from tests.endpoints import MOUNTED, bare, get, ops, settings, source
from tests.sources import ask


TOKEN: Final = "correct:horse/battery=staple"
OPEN: Final = ["/livez", "/readyz"]
GUARDED: Final = [path for path in MOUNTED if path not in (*OPEN, "/health")]


def basic(user: str, password: str) -> str:
    """Return the header of Basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


GOOD: Final = {
    "bearer": f"Bearer {TOKEN}",
    "basic": basic("prometheus", TOKEN),
    "basic without a user": basic("", TOKEN),
    "lower case": f"bearer {TOKEN}",
    "upper case": f"BEARER {TOKEN}",
    "spaces": f"  Bearer   {TOKEN}  ",
}
BAD: Final = {
    "nothing": "",
    "scheme alone": "Bearer",
    "empty bearer": "Bearer ",
    "another token": f"Bearer {TOKEN}x",
    "a part of it": f"Bearer {TOKEN[:-1]}",
    "token without scheme": TOKEN,
    "another scheme": f"Digest {TOKEN}",
    "token as basic": f"Basic {TOKEN}",
    "token as user": basic(TOKEN, ""),
    "token as both": "Basic " + base64.b64encode(TOKEN.encode()).decode(),
    "no colon": "Basic " + base64.b64encode(b"staple").decode(),
    "no base64": "Basic !!!",
    "base64 and more": basic("prometheus", TOKEN).replace("Basic ", "Basic !"),
    "cut base64": "Basic YQ",
    "no ascii": "Bearer caf\xe9",
    "no ascii in base64": "Basic caf\xe9",
}


class TestAccess:
    """The token."""

    @pytest.mark.parametrize("header", GOOD.values(), ids=GOOD)
    @pytest.mark.parametrize("path", MOUNTED)
    def test_the_token_opens_everything(self, path: str, header: str) -> None:
        """As a Bearer token or as a Basic password it gives what is open without one."""
        token = ops(settings=settings(token=TOKEN))
        answer = ask(token, path, HTTP_AUTHORIZATION=header)

        assert answer.status == 200
        assert answer.headers.keys() == ask(ops(), path).headers.keys()
        if path == "/health":
            assert "monitoring" in json.loads(answer.body)

    @pytest.mark.parametrize("header", BAD.values(), ids=BAD)
    @pytest.mark.parametrize("path", GUARDED)
    def test_nothing_else_does(self, path: str, header: str) -> None:
        """Whatever else is sent is 401 with both challenges, and tells nothing."""
        token = ops(settings=settings(token=TOKEN))
        answer = ask(token, path, HTTP_AUTHORIZATION=header)

        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert json.loads(answer.body).keys() == {"error"}
        assert answer.headers["Cache-Control"] == "no-store"

    def test_both_schemes_are_offered(self) -> None:
        """The challenge names Bearer and Basic, each in a header of its own."""
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}
        _, headers = bare(ops(settings=settings(token="t")), environ)

        schemes = [value.split()[0] for name, value in headers if name == "WWW-Authenticate"]
        assert schemes == ["Bearer", "Basic"]

    @pytest.mark.parametrize("path", OPEN)
    def test_probes_stay_open(self, path: str) -> None:
        """Whoever runs the machine must be able to ask whether it lives."""
        assert ask(ops(settings=settings(token="t")), path).status == 200

    @pytest.mark.parametrize("header", BAD.values(), ids=BAD)
    def test_health_tells_strangers_only_how_it_stands(self, header: str) -> None:
        """Without the token /health is status and timestamp, and nothing besides."""
        app = ops(settings=settings(token=TOKEN))
        found = get("/health", app, HTTP_AUTHORIZATION=header)

        assert found.keys() == {"status", "timestamp"}
        assert found["status"] == "healthy"

    def test_a_token_in_the_query_is_none(self) -> None:
        """Addresses are logged: what stands in them opens nothing."""
        answer = ask(ops(settings=settings(token="t")), "/metrics", QUERY_STRING="token=t")

        assert answer.status == 401

    @pytest.mark.parametrize("header", [*GOOD.values(), *BAD.values()])
    def test_the_comparison_takes_equal_time(
        self, header: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever is sent is compared with the token by hmac.compare_digest, as bytes."""
        compared: list[tuple[object, object]] = []
        original = hmac.compare_digest

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return original(one, other)

        monkeypatch.setattr(hmac, "compare_digest", compare)
        ask(ops(settings=settings(token="t")), "/api/metrics", HTTP_AUTHORIZATION=header)

        ((sent, token),) = compared
        assert isinstance(sent, bytes)
        assert token == b"t"

    @pytest.mark.parametrize("path", MOUNTED)
    def test_no_answer_holds_the_token(self, path: str) -> None:
        """The token is in no answer, whoever asks."""
        app = ops(settings=settings(token="hunter2hunter2"))
        for header in ("", "Bearer hunter2hunter2"):
            answer = ask(app, path, HTTP_AUTHORIZATION=header)
            assert "hunter2" not in f"{answer.headers} {answer.body!r}"


BYTES: Final = st.text(st.characters(max_codepoint=0xFF), max_size=30)
PATHS: Final = st.one_of(
    st.sampled_from(MOUNTED),
    st.builds("{}{}".format, st.sampled_from(MOUNTED), BYTES),
    BYTES.map(lambda text: f"/{text}"),
)
METHODS: Final = st.one_of(
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]), st.text(min_size=1, max_size=8)
)
HEADERS: Final = st.dictionaries(
    st.sampled_from(
        [
            "HTTP_ACCEPT",
            "HTTP_ACCEPT_ENCODING",
            "HTTP_AUTHORIZATION",
            "HTTP_HOST",
            "HTTP_X_FORWARDED_FOR",
            "CONTENT_TYPE",
        ]
    ),
    st.one_of(
        BYTES,
        st.sampled_from([f"Bearer {TOKEN}", "Basic Og==", "Basic =", "gzip;q=1e999", "*;q=-0"]),
    ),
)


class TestRubbish:
    """Whatever clients send."""

    @given(METHODS, PATHS, BYTES, HEADERS, st.sampled_from([None, TOKEN]))
    @example("GET", "/metrics", "", {"HTTP_ACCEPT": ",;=,q=,;q"}, None)
    @example("GET", "/health", "", {"HTTP_AUTHORIZATION": "Basic \xff"}, TOKEN)
    def test_it_is_answered(
        self, method: str, path: str, query: str, headers: dict[str, str], token: str | None
    ) -> None:
        """Any method, path, query and headers get one of our statuses, and nothing raises."""
        app = OpsApp(source(settings=settings(token=token)), fallback=None)
        answer = ask(app, path, method, QUERY_STRING=query, **headers)

        assert answer.status in (200, 401, 404, 405)
        assert (answer.status == 404) == (path not in MOUNTED)
        if answer.headers["Content-Type"] == "application/json" and method != "HEAD":
            assert isinstance(json.loads(answer.body), dict)
        assert "view" not in faults.seen()

    @given(st.text())
    def test_headers_are_read_without_a_word(self, header: str) -> None:
        """No Accept or Accept-Encoding is refused, not even one that no server lets through."""
        assert prefers_openmetrics(header) in (True, False)
        assert takes_gzip(header) in (True, False)

    @given(PATHS, st.text(max_size=20), st.text(max_size=20))
    def test_no_environ_breaks_us(self, path: str, method: str, header: str) -> None:
        """Texts that no server would hand over are answered too."""
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "HTTP_AUTHORIZATION": header,
            "HTTP_ACCEPT": header,
        }
        status, _ = bare(ops(settings=settings(token="t")), environ)
        assert status[:3] in ("200", "401", "404", "405")

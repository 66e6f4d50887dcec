"""How the endpoints answer: methods, headers, places, readiness, failures, rubbish."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Final

import pytest

from otelmon import faults
from otelmon.errors import LedgerError
from otelmon.settings import Settings
from otelmon.views.ops import OpsApp
from tests.endpoints import MOUNTED, bare, get, ops, settings, source, theirs
from tests.sources import Counts, ask, worker


ASKING: Final = [path for path in MOUNTED if path not in ("/livez", "/api/metrics/recommendations")]


class TestHttp:
    """Methods, headers and paths."""

    @pytest.mark.parametrize("path", MOUNTED)
    def test_answers_are_not_stored(self, path: str) -> None:
        """Every answer says no-store and nosniff, and how long it is."""
        answer = ask(ops(), path)

        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert not any(name.startswith("Access-Control") for name in answer.headers)

    @pytest.mark.parametrize("path", [path for path in MOUNTED if path != "/metrics"])
    def test_json_is_json_whatever_is_accepted(self, path: str) -> None:
        """JSON is what there is, and its type says so."""
        for accept in ("", "*/*", "text/html", "application/json", "rubbish;q=x"):
            answer = ask(ops(), path, HTTP_ACCEPT=accept)
            assert answer.headers["Content-Type"] == "application/json"
            assert (
                json.dumps(json.loads(answer.body), separators=(",", ":"), ensure_ascii=False)
                == answer.body.decode()
            )

    @pytest.mark.parametrize("path", MOUNTED)
    def test_head_is_get_without_its_body(self, path: str) -> None:
        """HEAD has the status and headers of GET, the length of its body, and no body."""
        app = ops()
        whole, head = ask(app, path), ask(app, path, "HEAD")

        assert (head.status, head.body) == (whole.status, b"")
        assert head.headers.keys() == whole.headers.keys()
        assert abs(int(head.headers["Content-Length"]) - len(whole.body)) < 20

    @pytest.mark.parametrize("path", MOUNTED)
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "X"])
    def test_other_methods_are_refused(self, path: str, method: str) -> None:
        """Anything but GET and HEAD is 405, which says what is allowed."""
        answer = ask(ops(), path, method)

        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"

    def test_an_answer_belongs_to_whom_it_was_given(self) -> None:
        """A server may change the headers it gets: the next answer has its own."""
        app = ops()
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/livez"}

        assert bare(app, environ) == bare(app, environ) != ("200 OK", [])

    @pytest.mark.parametrize(
        "path", ["/", "/health/", "//health", "/Health", "/%68ealth", "/health\n", "/api", "/x"]
    )
    def test_only_the_exact_path_is_ours(self, path: str) -> None:
        """Every other path is the application's, and on the port it is 404."""
        assert ask(OpsApp(source(), fallback=theirs), path).body == b"theirs"
        assert ask(ops(), path).status == 404

    @pytest.mark.parametrize("path", MOUNTED)
    def test_paths_are_relative_to_where_the_application_is(self, path: str) -> None:
        """Mounted under a SCRIPT_NAME our paths are below it."""
        assert ask(OpsApp(source(), fallback=theirs), path, SCRIPT_NAME="/shop").status == 200

    @pytest.mark.parametrize("environ", [{}, {"PATH_INFO": "/health"}, {"REQUEST_METHOD": "GET"}])
    def test_an_environ_with_holes_raises_nothing(self, environ: dict[str, str]) -> None:
        """A server that leaves out what the specification demands gets an answer all the same."""
        assert bare(ops(), environ)[0] in ("404 Not Found", "405 Method Not Allowed")


class TestMounting:
    """Which paths are ours."""

    def test_all_are_mounted_in_front_of_an_application(self) -> None:
        """Without further settings every endpoint is where the specification has it."""
        assert list(OpsApp(source(), fallback=theirs).paths) == MOUNTED

    def test_a_prefix_moves_them(self) -> None:
        """With a prefix the old paths are the application's."""
        app = OpsApp(source(settings=settings(prefix="/ops")), fallback=theirs)

        assert list(app.paths) == [f"/ops{path}" for path in MOUNTED]
        assert ask(app, "/health").body == b"theirs"
        assert get("/ops/health", app)["status"] == "healthy"

    def test_single_ones_can_be_left_to_the_application(self) -> None:
        """What is switched off is the application's."""
        app = OpsApp(
            source(settings=settings(endpoints_off=("/health", "/metrics"))), fallback=theirs
        )

        assert set(MOUNTED) - app.paths.keys() == {"/health", "/metrics"}
        assert ask(app, "/health").body == b"theirs"

    def test_the_prometheus_text_is_there_only_if_enabled(self) -> None:
        """Otherwise its path is the application's."""
        app = OpsApp(source(settings=Settings()), fallback=theirs)

        assert ask(app, "/metrics").body == b"theirs"
        assert ask(ops(settings=Settings()), "/metrics").status == 404

    def test_the_port_has_them_all_where_they_always_are(self) -> None:
        """Alone on a port there is no application to make way for."""
        moved = settings(prefix="/ops", endpoints_off=("/metrics",))

        assert list(ops(settings=moved).paths) == MOUNTED

    @pytest.mark.parametrize("path", MOUNTED)
    def test_each_path_is_an_application_of_its_own(self, path: str) -> None:
        """A stack may look the path up and call what it finds."""
        endpoint = OpsApp(source(), fallback=theirs).paths[path]

        assert ask(endpoint, path).status == 200


class TestReadiness:
    """`/readyz` and `/livez`."""

    @pytest.mark.parametrize(
        ("others", "ends", "status"),
        [
            pytest.param([], False, 503, id="nobody"),
            pytest.param([False], False, 200, id="another worker"),
            pytest.param([True], False, 503, id="another one that ends"),
            pytest.param([True, False], False, 200, id="one of two ends"),
            pytest.param([False], True, 200, id="this one ends, another does not"),
        ],
    )
    def test_it_needs_a_worker_that_goes_on(
        self, others: list[bool], ends: bool, status: int
    ) -> None:
        """The instance is ready while one worker lives that is not about to end."""
        workers = tuple(worker(n, draining=draining) for n, draining in enumerate(others))
        reading = replace(Counts().read(), workers=workers)

        assert ask(ops(counted=reading, ends=ends), "/readyz").status == status

    @pytest.mark.parametrize("said", [False, True])
    @pytest.mark.parametrize("ends", [False, True])
    def test_what_this_process_knows_of_itself_is_of_now(self, said: bool, ends: bool) -> None:
        """Its own flag counts as it is, not as it was at the last beat."""
        own = replace(Counts().read(), workers=(worker(pid=os.getpid(), draining=said),))
        answer = ask(ops(counted=own, ends=ends), "/readyz")

        assert answer.status == (503 if ends else 200)
        assert json.loads(answer.body) == {"status": "draining" if ends else "ok"}

    @pytest.mark.parametrize("ends", [False, True])
    def test_a_process_that_answers_is_started(self, ends: bool) -> None:
        """Before there is a ledger the request itself shows that requests are taken."""
        assert ask(ops(counted=None, ends=ends), "/readyz").status == (503 if ends else 200)

    def test_to_live_nothing_is_needed(self) -> None:
        """/livez asks nobody: it answers where everything else fails."""
        answer = ask(ops(counted=RuntimeError(), ends=True), "/livez")

        assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})


class TestFailures:
    """What breaks inside stays inside."""

    @pytest.mark.parametrize("path", ASKING)
    def test_a_view_that_fails_says_no_more_than_that(self, path: str) -> None:
        """An exception in a view is a 500 in JSON without details, and a fault of its path."""
        answer = ask(ops(counted=LedgerError("/run/secret")), path)

        assert answer.status == 500
        assert json.loads(answer.body) == {"error": "This answer could not be made."}
        assert answer.headers["Cache-Control"] == "no-store"
        assert faults.seen()["view"].each[path].error == "LedgerError"

    def test_each_path_that_fails_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """A page that never worked is in the log although another one failed before; once."""
        for _ in range(2):
            for path in ("/api/metrics", "/metrics"):
                ask(ops(counted=LedgerError("gone")), path)

        assert [record.getMessage().split(":")[0] for record in caplog.records] == [
            "view /api/metrics failed",
            "view /metrics failed",
        ]

    def test_the_end_of_the_process_is_not_held_up(self) -> None:
        """SystemExit, as gunicorn raises it in a worker that is too slow, goes through."""
        with pytest.raises(SystemExit):
            ask(ops(counted=SystemExit(1)), "/health")

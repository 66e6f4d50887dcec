"""A small Flask application with every kind of route and end that Flask has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    redirect,
    request,
    send_file,
    stream_with_context,
)

from otelmon import monitor
from tests.apps.bodies import PlannedError


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from werkzeug.wrappers import Response as AnyResponse


def create_app(*, static: Path | None = None, file: str = __file__) -> Flask:
    """Return the application; *file* is what `/file` sends."""
    app = Flask(__name__, static_folder=static, static_url_path="/static")
    app.register_blueprint(_orders(), url_prefix="/shop")
    app.register_blueprint(_failing())
    app.register_blueprint(_answering(file))
    return app


def observed() -> Flask:
    """Return the application as a server gets it, measured."""
    app = create_app(file=os.path.abspath(__file__))  # noqa: PTH100 - what Flask takes
    app.wsgi_app = monitor(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _orders() -> Blueprint:
    orders = Blueprint("orders", __name__, url_prefix="/ignored")
    nested = Blueprint("items", __name__)

    @orders.get("/orders/<int:number>")
    def order(number: int) -> str:
        return str(number)

    @orders.post("/orders")
    def buy() -> tuple[str, int]:
        return str(len(request.get_data())), 201

    @nested.route("/<path:rest>", methods=["GET", "DELETE"])
    def item(number: int, rest: str) -> str:
        return f"{number} {rest}"

    orders.register_blueprint(nested, url_prefix="/orders/<int:number>/items")
    return orders


def _failing() -> Blueprint:
    failing = Blueprint("failing", __name__)

    @failing.route("/crash/<word>")
    def crash(word: str) -> str:
        raise PlannedError(word)

    @failing.route("/abort/<int:code>")
    def give_up(code: int) -> str:
        abort(code)

    @failing.route("/midway")
    def midway() -> Response:
        def pieces() -> Iterator[str]:
            yield "first"
            raise PlannedError

        return Response(pieces())

    @failing.route("/late")
    def late() -> Response:
        response = Response("never sent")

        def fail() -> None:
            raise PlannedError

        response.call_on_close(fail)
        return response

    return failing


def _answering(file: str) -> Blueprint:
    answering = Blueprint("answering", __name__)

    @answering.route("/")
    def index() -> str:
        return "the shop"

    @answering.route("/slashed/")
    def slashed() -> str:
        return "slashed"

    @answering.route("/away")
    def away() -> AnyResponse:
        return redirect("/")

    @answering.route("/stream/<int:pieces>")
    def stream(pieces: int) -> Response:
        def told() -> Iterator[str]:
            for _ in range(pieces):
                yield request.path

        return Response(stream_with_context(told()))

    @answering.route("/file")
    def whole_file() -> Response:
        return send_file(file)

    return answering

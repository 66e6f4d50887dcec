"""Every framework's application mounted in one, below a proxy's middleware that believes anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from otelmon import monitor
from tests.apps import (
    bottle_shop,
    django_shop,
    falcon_shop,
    flask_shop,
    pyramid_shop,
    werkzeug_shop,
)


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


TEMPLATES: Final = {
    "/bottle/u/1": "/bottle/u/<number:int>",
    "/django/u/1": "/django/u/<int:number>",
    "/falcon/u/1": "/falcon/u/{number:int}",
    "/api/v1/shop/orders/1": "/api/v1/shop/orders/<int:number>",
    "/pyramid/u/1": "/pyramid/u/{number}",
    "/pyramid/document": "/pyramid{Document}",
    "/werkzeug/u/1": "/werkzeug/u/<int:number>",
    "/shop/orders/1": "/shop/orders/<int:number>",
    "/deep/er/u/1": "/deep/er/u/<number:int>",
    "/raise": "{unmatched}",
    "/bottle/raise": "/bottle/raise",
    "/django/raise": "/django/raise",
    "/falcon/raise": "/falcon/raise",
    "/api/v1/crash/x": "/api/v1/crash/<word>",
    "/pyramid/raise": "/pyramid/raise",
    "/werkzeug/raise": "/werkzeug/raise",
    **dict.fromkeys(
        (f"/{place}/missing" for place in ("bottle", "django", "falcon", "api/v1", "werkzeug")),
        "{unmatched}",
    ),
}
"""By path: the route"""


def create_app() -> WSGIApplication:
    """Return the application; what is at /deep has a table of its own."""
    inner = DispatcherMiddleware(bottle_shop.create_app(), {"/er": bottle_shop.create_app()})
    shops = DispatcherMiddleware(
        flask_shop.create_app(),
        {
            "/bottle": bottle_shop.create_app(),
            "/django": django_shop.create_app(),
            "/falcon": falcon_shop.create_app(),
            "/api/v1": flask_shop.create_app(),
            "/pyramid": pyramid_shop.create_app(),
            "/werkzeug": werkzeug_shop.create_app(),
            "/deep": inner,
        },
    )
    return ProxyFix(shops, x_prefix=1)


def observed() -> WSGIApplication:
    """Return the application as a server gets it, measured, with a second proxy in front."""
    return ProxyFix(monitor(create_app()), x_prefix=2)

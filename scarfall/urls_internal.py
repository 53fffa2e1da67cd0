"""HTTP on the internal gateway's port."""

from django.contrib import admin
from django.urls import path, re_path
from django.views.generic import RedirectView

from scarfall import admin_site, examples, health, prometheus, protocol, static

admin.autodiscover()

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", prometheus.metrics),
    path("protocol/", protocol.page, name="protocol"),
    path("protocol/asyncapi.json", protocol.document),
    # The catch-all below would keep Django from adding the slash.
    path("protocol", RedirectView.as_view(pattern_name="protocol")),
    path("", examples.redirect("internal")),
    path("examples/internal", examples.redirect("internal")),
    path("examples/internal/", examples.page("internal")),
    path("static/examples/<path:name>", static.serve_example),
    path("admin/theme.css", admin_site.theme, name="admin-theme"),
    path("admin/", admin.site.urls),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("static/<path:name>", static.serve),
    re_path("", health.not_found),
]

handler404 = health.not_found
handler500 = health.server_error

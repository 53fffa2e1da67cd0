"""HTTP on the user gateway's port."""

from django.urls import path, re_path

from scarfall import examples, health, static

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("", examples.redirect("user")),
    path("examples/user", examples.redirect("user")),
    path("examples/user/", examples.page("user")),
    path("static/<path:name>", static.serve_example),
    re_path("", health.not_found),
]

handler404 = health.not_found
handler500 = health.server_error

"""`/metrics`: what all processes of this machine count, as Prometheus reads it.

A process that is started again counts from nothing, under the same labels: to `rate()` that is the
reset of a counter, as any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import accumulate

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import exposition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric as Family,
)

from gateways import metrics as figures
from gateways.store.errors import StoreUnavailable
from scarfall import metrics_socket
from scarfall.metrics_socket import Figures

#: Of the whole deployment: whichever machine is asked, it is the same.
SHARED = (figures.users_online, figures.nodes, figures.store_up)


@csrf_exempt
@require_safe
@never_cache
async def metrics(request: ASGIRequest) -> HttpResponse:
    """Without what the store says where it does not answer, and of a process that does not answer
    only that it is not up.
    """
    processes, shared = await asyncio.gather(metrics_socket.ask_all(), _shared(request))
    encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(_Collected(processes, shared)), content_type=content_type)


async def _shared(request: ASGIRequest) -> dict[str, float]:
    try:
        async with asyncio.timeout(settings.REDIS_TIMEOUT):
            gateway = await request.scope["running"]()
            online, nodes = await asyncio.gather(gateway.directory.total(), gateway.node.count())
    except (StoreUnavailable, TimeoutError):
        return {figures.store_up.name: 0.0}
    return {
        figures.store_up.name: 1.0,
        figures.users_online.name: float(online),
        figures.nodes.name: float(nodes),
    }


class _Collected:
    """A collector, as prometheus_client has it."""

    def __init__(self, processes: Sequence[Figures], shared: dict[str, float]) -> None:
        self._processes = processes
        self._shared = shared

    def collect(self) -> Iterator[Family]:
        for metric in figures.Metric.all:
            if metric in SHARED:
                if metric.name in self._shared:
                    yield GaugeMetricFamily(
                        metric.name, metric.meaning, value=self._shared[metric.name]
                    )
            else:
                yield self._family(metric)

    def _family(self, metric: figures.Metric) -> Family:
        labels = ["gateway", "process", *([metric.label] if metric.label else [])]
        if isinstance(metric, figures.Histogram):
            return self._histogram(metric, labels)
        kind = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
        family = kind(metric.name, metric.meaning, labels=labels)
        for of, value in self._values(metric):
            if isinstance(value, dict):
                for which, count in sorted(value.items()):
                    family.add_metric([*of, which], count)
            elif not isinstance(value, tuple):
                family.add_metric(of, value)
        return family

    def _histogram(self, metric: figures.Histogram, labels: list[str]) -> Family:
        family = HistogramMetricFamily(metric.name, metric.meaning, labels=labels)
        bounds = [*map(str, metric.bounds), "+Inf"]
        for of, value in self._values(metric):
            assert isinstance(value, tuple)
            counts, total = value
            family.add_metric(of, list(zip(bounds, accumulate(counts), strict=True)), total)
        return family

    def _values(self, metric: figures.Metric) -> Iterator[tuple[list[str], figures.Value]]:
        for process in self._processes:
            of = [process.gateway, process.process]
            if metric is figures.process_up:
                yield of, float(bool(process.values))
            elif metric.name in process.values:
                yield of, process.values[metric.name]

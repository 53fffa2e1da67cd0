# The service as a clone has it after script/bootstrap, without what built it. `manage.py serve` is the same here as there: it
# brings the database to what this version wants, and keeps in DATA_DIR whatever the environment says nothing about: the secrets
# (JWT_SECRET, SECRET_KEY), SQLite (DATABASE_URL), a Valkey of its own (REDIS_URL).

FROM python:3.13.14-slim-bookworm AS base
WORKDIR /srv/scarfall

FROM base AS dependencies
COPY requirements.txt .
# The environment gets no pip: nothing is installed into it later.
RUN python -m venv --without-pip .venv && \
    python -m pip --python .venv install --no-cache-dir --require-hashes --requirement requirements.txt

FROM base
# A volume that is mounted anew gets its owner from the directory below it.
RUN mkdir /var/lib/scarfall /var/log/scarfall && \
    chown 10001:10001 /var/lib/scarfall /var/log/scarfall
COPY --from=dependencies /srv/scarfall/.venv .venv
COPY . .
# The service may not write here, so that every start would compile it anew.
RUN .venv/bin/python -m compileall -q scarfall gateways services_registry

# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
# In a container the internal port is as private as the networks that the container is in.
ENV PATH=/srv/scarfall/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/var/lib/scarfall \
    LOG_DIR=/var/log/scarfall \
    INTERNAL_HOST=0.0.0.0
VOLUME ["/var/lib/scarfall", "/var/log/scarfall"]
EXPOSE 3000 4000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["python", "-m", "scarfall.healthcheck"]
CMD ["python", "manage.py", "serve"]

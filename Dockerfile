# The gateway with exactly the locked packages, as a user without rights. Mail and settings live in /var/lib/gatepost.
FROM python:3.13-slim

RUN useradd --system --uid 10025 --home-dir /var/lib/gatepost --create-home gatepost
WORKDIR /src
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY projections projections
COPY workers workers
COPY cli cli
RUN pip install --no-cache-dir --no-deps .

USER gatepost
WORKDIR /var/lib/gatepost
VOLUME /var/lib/gatepost
ENV GATEPOST_DATA=/var/lib/gatepost \
    GATEPOST_SMTP=0.0.0.0:2525 \
    PYTHONUNBUFFERED=1
EXPOSE 2525
ENTRYPOINT ["gatepost"]
CMD ["up"]

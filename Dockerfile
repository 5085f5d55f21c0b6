# One image for all of kser's programs: kser-orchestrator, kser-worker, kser.
FROM debian:bookworm-slim AS build
RUN apt-get update \
	&& apt-get install -y --no-install-recommends gcc libc6-dev cmake ninja-build pkg-config librdkafka-dev libpq-dev libjson-c-dev \
		libsodium-dev libmicrohttpd-dev libcurl4-openssl-dev uuid-dev libinih-dev uthash-dev \
	&& rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cmake --preset release && cmake --build --preset release && cmake --install build/release --prefix /opt/kser

FROM debian:bookworm-slim
RUN apt-get update \
	&& apt-get install -y --no-install-recommends librdkafka1 libpq5 libjson-c5 libsodium23 libmicrohttpd12 libcurl4 ca-certificates libuuid1 libinih1 \
	&& rm -rf /var/lib/apt/lists/* \
	&& useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin kser
COPY --from=build /opt/kser /opt/kser
COPY packaging/healthcheck /opt/kser/bin/kser-healthcheck
ENV PATH=/opt/kser/bin:$PATH
USER kser
WORKDIR /tmp
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["kser-healthcheck"]
CMD ["kser", "--help"]

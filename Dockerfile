# syntax=docker/dockerfile:1
#
#   worker     the production image: one binary, no shell, not root (the default)
#   debug      the binary's debug information, a file: docker build --target debug --output . .
#   temporal   Temporal's development server, as tools/go.mod pins it
#   versitygw  the development store, as tools/go.mod pins it

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils=2.40-* gcc=4:12.* libc6-dev=2.36-* make=4.3-* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
ENV SQLX_OFFLINE=true
# The binary keeps its symbols, so a backtrace names functions. Beside `export-worker.debug` it also names lines.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --package export-worker \
    && install -D target/release/export-worker /out/export-worker \
    && cd /out \
    && objcopy --only-keep-debug export-worker export-worker.debug \
    && objcopy --strip-debug --add-gnu-debuglink=export-worker.debug export-worker \
    && install -d spool

FROM scratch AS debug
COPY --from=build /out/export-worker.debug /

FROM golang:1.26-bookworm AS tools
WORKDIR /tools
COPY tools/go.mod tools/go.sum ./
ENV CGO_ENABLED=0 GOBIN=/out
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    go install -ldflags "-s -w" tool \
    && mkdir -p /out/data/objects/exports /out/data/sidecar

FROM gcr.io/distroless/static-debian12:nonroot AS temporal
COPY --from=tools /out/temporal /usr/local/bin/temporal
COPY --from=tools --chown=65532:65532 /out/data /data
EXPOSE 7233 8233
ENTRYPOINT ["/usr/local/bin/temporal"]
CMD ["server", "start-dev", "--ip", "0.0.0.0", "--db-filename", "/data/temporal.db", "--ui-disable-news-fetch", "--log-level", "error"]

FROM gcr.io/distroless/static-debian12:nonroot AS versitygw
COPY --from=tools /out/versitygw /usr/local/bin/versitygw
# A folder of the first level is a bucket.
COPY --from=tools --chown=65532:65532 /out/data /data
EXPOSE 7070
ENTRYPOINT ["/usr/local/bin/versitygw"]
CMD ["--port", ":7070", "--health", "/health", "--quiet", "posix", "--sidecar", "/data/sidecar", "/data/objects"]

# With the C library and the root certificates that the binary needs, and nothing else.
FROM gcr.io/distroless/cc-debian12:nonroot AS worker
COPY --from=build /out/export-worker /usr/local/bin/export-worker
# The worker makes a folder of its own in it, because a builder or a mounted volume decides about the mode of this one.
COPY --from=build --chown=65532:65532 /out/spool /spool
ENV EXPORT_SPOOL_DIR=/spool/archives
# If EXPORT_HTTP_ADDR is 0.0.0.0:9464.
EXPOSE 9464
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/export-worker"]
CMD ["run"]

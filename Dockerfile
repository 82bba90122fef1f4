# One image, every role: `docker run … serve`, `… serve keys ratelimit`, `… migrate`.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package tollgate

FROM debian:bookworm-slim
# What webhooks by https trust.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
# The data directory of the all-in-one shape, and the secrets that compose makes; both belong to the user below.
RUN useradd --uid 10001 --create-home --home-dir /var/lib/tollgate tollgate \
    && mkdir /run/tollgate && chown tollgate:tollgate /run/tollgate
COPY --from=build /src/target/release/tollgate /usr/local/bin/tollgate
USER tollgate
WORKDIR /var/lib/tollgate
EXPOSE 8080 9100 9101 9102 9103 9090
# The admin port answers on loopback inside the container, whatever is published.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s CMD ["tollgate", "health"]
ENTRYPOINT ["tollgate"]
CMD ["serve"]

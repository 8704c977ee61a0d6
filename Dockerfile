# Build: the compiler image has the C compiler and the linker that the TLS library needs.
FROM rust:1-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin concierge

# Run: the C library and the certificate authorities, no shell, not as root.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/concierge /usr/local/bin/concierge
COPY config.toml /etc/concierge/config.toml
EXPOSE 8080
# Where the memory file goes unless memory.path says otherwise: mount a volume here to keep it.
WORKDIR /home/nonroot
# Without a shell there is no HEALTHCHECK to write here: ask /livez and /readyz from outside.
ENTRYPOINT ["/usr/local/bin/concierge"]
CMD ["serve", "--config", "/etc/concierge/config.toml"]

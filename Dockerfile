# Slipway: one image, and the command chooses the role (gateway, launcher, egress, all). Node runs the TypeScript as it is.

FROM node:26-trixie-slim AS base
WORKDIR /app
COPY package.json package-lock.json .npmrc ./

FROM base AS production
RUN npm ci --omit=dev --no-update-notifier --cache=/tmp/npm && rm -rf /tmp/npm

# Everything that the tests need: `docker compose run --rm test`.
FROM base AS test
RUN npm ci --no-update-notifier --cache=/tmp/npm && rm -rf /tmp/npm
COPY . .
CMD ["npm", "test"]

FROM node:26-trixie-slim AS slipway
WORKDIR /app
ENV NODE_ENV=production
COPY --from=production /app/node_modules node_modules
COPY package.json ./
COPY images images
COPY catalog catalog
COPY src src
# A new volume that is mounted here takes over owner and mode. The group is for the role `all`, which is root without
# capabilities: to the file system it is nobody special.
RUN mkdir -p /var/lib/slipway && chown 10001:0 /var/lib/slipway && chmod 0770 /var/lib/slipway
# The command line writes what the launcher reads, which is of the group 0: so files here are of the folder's group.
RUN mkdir -p /var/lib/slipway-secrets && chown 10001:0 /var/lib/slipway-secrets && chmod 2770 /var/lib/slipway-secrets
ENV SLIPWAY_DATA=/var/lib/slipway SLIPWAY_ADDRESS=0.0.0.0 SLIPWAY_CATALOG=/app/catalog \
    SLIPWAY_SECRETS_DIR=/run/secrets/slipway:/run/secrets SLIPWAY_SECRETS_STORE=/var/lib/slipway/secrets
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --start-interval=1s --retries=3 CMD ["node", "src/main.ts", "health"]
ENTRYPOINT ["node", "/app/src/main.ts"]
CMD ["help"]

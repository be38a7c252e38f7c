# The bridge with its production dependencies. Run it with an init (`docker run --init`, compose.yaml has it), which
# collects what its children (a private Kubo, anvil) leave behind.

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# npm's own copy of Node is for machines with an older one: this image has the right one.
RUN npm ci --omit=dev \
 && rm -rf node_modules/node node_modules/node-bin-* node_modules/.bin/node

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    NODE_OPTIONS=--disable-warning=ExperimentalWarning \
    DAGPACS_DATA_DIR=/data
WORKDIR /app
# The program is root's and the bridge runs as `node`: it can change its data and nothing else.
RUN install --directory --owner=node --group=node --mode=0700 /data
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY src ./src
USER node
VOLUME /data
EXPOSE 8080 11112
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.DAGPACS_HTTP_PORT ?? 8080}/health/ready`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
CMD ["node", "src/main.ts"]

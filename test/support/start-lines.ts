/** What `npm start` prints with the embedded authority, line by line; documents and tests hold to it. */

const NUMBER = String.raw`\d+(?:\.\d+)?`;
const line = (text: string): RegExp => new RegExp(`^${text}$`);

export const START_LINES: readonly RegExp[] = [
  /^spiffe-edge \d+\.\d+\.\d+ on (?:bun|node) [\d.]+ · trust domain x0tta6bl4\.local · embedded authority, keys in memory, FOR DEVELOPMENT ONLY$/,
  /^Workload API {2}\/\S+\/spiffe-edge-\d+\/\{gateway,web,cron,guest\}\.sock {2}\(0700, one socket per workload\)$/,
  line(
    `X\\.509-SVID {4}spiffe://x0tta6bl4\\.local/gateway {2}fetched in ${NUMBER} ms, renews in 2 min \\d+ s {8}JWT-SVID {2}issued in ${NUMBER} ms`,
  ),
  /^gateway {7}https:\/\/127\.0\.0\.1:\d+ → demo upstream {6}status {2}http:\/\/127\.0\.0\.1:\d+\/status$/,
  line(
    ` {2}✓ 200 GET /orders {2}as web {4}mTLS {6}allowed by rule web-reads-orders {6}${NUMBER} ms \\(handshake ${NUMBER}, upstream ${NUMBER}\\)`,
  ),
  line(` {2}✓ 200 GET /orders {2}as cron {3}JWT-SVID {2}allowed by rule cron-reads-orders {5}${NUMBER} ms`),
  /^ {2}✗ 403 GET \/orders {2}as guest {2}mTLS {6}policy\.default-deny: no rule allows spiffe:\/\/x0tta6bl4\.local\/guest {6}\(as intended\)$/,
  line(`issuance {6}p99 ${NUMBER} ms of 50 by the embedded authority \\(npm run bench measures a real SPIRE\\)`),
  line(
    `ready in ${NUMBER} s\\. Real SPIRE: set SPIFFE_ENDPOINT_SOCKET=unix:///… before\\. Ctrl-C drains and removes the sockets\\.`,
  ),
];

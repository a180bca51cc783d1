/** Controls of the gateway's way with HTTP. */
import { type Control, controlsIn } from "./control-row.ts";

const inGateway = controlsIn("src/gateway");
const control: typeof inGateway = (name, ...rest) => inGateway(`gateway-${name}`, ...rest);

export const HTTP_CONTROLS: readonly Control[] = [
  control("misdirected", "judge.ts", "if (room.routes.isElsewhere(target.host)) {", "if (false) {", "hosts.test.ts"),
  control(
    "misdirected-exactness",
    "routes.ts",
    "if (this.#named.has(spelling)) return false;",
    "if (spellings(host).some((one) => this.#named.has(one))) return false;",
    "routes.test.ts",
  ),
  control(
    "host-twins",
    "config-routes.ts",
    "        shareHosts(other.hosts, hosts) &&\n",
    "        other.hosts.join() === hosts.join() &&\n",
    "routes.test.ts",
  ),
  control(
    "target-as-judged",
    "handler.ts",
    "          target: target.target,\n",
    '          target: request.url ?? "",\n',
    "raw-targets.test.ts",
  ),
  control(
    "app-target-as-judged",
    "app-handler.ts",
    "    request.url = checked.value.target;\n",
    "",
    "raw-targets.test.ts",
  ),
  control(
    "token-by-route",
    "upstream-fields.ts",
    "const dropAuthorization = carried && !route.forwardsToken;",
    "const dropAuthorization = false;",
    "forward-token.test.ts",
  ),
  control(
    "grpc-timeout-spent",
    "exchange.ts",
    "    if (callMs !== undefined && callMs <= 0) return void this.#callOver();\n",
    "",
    "grpc-web.test.ts",
  ),
  control(
    "grpc-web-head",
    "refusal.ts",
    "  if (GRPC_WEB.test(type)) return { status: 200, headers: { ...head, ...about }, body };\n",
    "",
    "refusal.test.ts",
    "grpc-web.test.ts",
  ),
  control(
    "grpc-timeout-no-blame",
    "exchange.ts",
    "    if (!this.#begun) return void this.failed(problem);\n",
    "    if (!this.#begun) this.#attempts.expired();\n    if (!this.#begun) return void this.failed(problem);\n",
    "grpc-timeout.test.ts",
  ),
  control(
    "grpc-timeout-form",
    "grpc-timeout.ts",
    'stated.length === 1 ? (stated[0]?.[1] ?? "") : ""',
    'stated[0]?.[1] ?? ""',
    "grpc-timeout.test.ts",
  ),
  control(
    "upgrade-refusal-linger",
    "answer.ts",
    "  clock.sleep(LINGER_MS, over.signal).then(\n    () => socket.destroy(),",
    "  clock.sleep(LINGER_MS, over.signal).then(\n    () => {},",
    "websocket.test.ts",
  ),
  control("bare-length", "headers.ts", '!(bare && lower === "content-length")', "true", "odd-answers.test.ts"),
  control(
    "kept-connection-gone",
    "../tls/http1/pool.ts",
    "else if (kept.usable) call.start(kept);",
    "else if (kept !== undefined) call.start(kept);",
    "../tls/http1/pool.test.ts",
  ),
  control(
    "authorizer-overtaken",
    "running.ts",
    "entry.at < 0 || room(entry.request.listener) !== then;",
    "entry.at < 0 || then === undefined;",
    "rejudge.test.ts",
  ),
  control("authorizer-width", "confirming.ts", "Math.min(WIDTH, all.length)", "all.length", "rejudge.test.ts"),
  control(
    "authorizer-again",
    "running.ts",
    "return ended + (await this.#confirm(allowed, room));",
    "return ended;",
    "rejudge.test.ts",
  ),
  control(
    "assumed-certificate",
    "middleware/spiffe.ts",
    'if (assumed?.via === "x509" && incoming === undefined)',
    'if (assumed?.via === "x509")',
    "middleware/middleware.test.ts",
  ),
  control(
    "assumed-token",
    "middleware/spiffe.ts",
    'if (assumed?.via === "jwt" && incoming === undefined)',
    'if (assumed?.via === "jwt")',
    "middleware/middleware.test.ts",
  ),
];

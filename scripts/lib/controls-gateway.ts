/** Controls of the gateway that hold where something fails: what cannot be judged, confirmed or read. */
import { controlsIn } from "./control-row.ts";
import type { Control } from "./controls.ts";

const inGateway = controlsIn("src/gateway");
const control: typeof inGateway = (name, ...rest) => inGateway(`gateway-${name}`, ...rest);

export const GATEWAY_CONTROLS: readonly Control[] = [
  control(
    "rejudge-fails",
    "running.ts",
    "  } catch {\n    return {",
    "  } catch (error) {\n    if (request !== undefined) throw error;\n    return {",
    "running.test.ts",
  ),
  control(
    "authorizer-again-fails",
    "confirming.ts",
    "    } catch {\n      return UNCONFIRMED;",
    "    } catch (error) {\n      if (one !== undefined) throw error;\n      return UNCONFIRMED;",
    "confirming.test.ts",
  ),
  control(
    "authorizer-again-late",
    "confirming.ts",
    "return late.signal.aborted ? UNCONFIRMED : await",
    "return await",
    "confirming.test.ts",
  ),
  control(
    "grpc-timeout-refused",
    "judge.ts",
    "    if (!callMs.ok) return badRequest(callMs.reason, callMs.message);\n    return { target, route, peer, clientCert: clientCert?.value, callMs: callMs.value };",
    "    return { target, route, peer, clientCert: clientCert?.value, callMs: callMs.ok ? callMs.value : undefined };",
    "grpc-timeout.test.ts",
  ),
  control("policy-file-utf8", "policy-files.ts", "{ fatal: true }", "{ fatal: false }", "policy-files.test.ts"),
  control(
    "policy-file-size",
    "policy-files.ts",
    "if (statSync(path).size > LIMITS.configText)",
    "if (false)",
    "policy-files.test.ts",
  ),
  control(
    "file-size",
    "config-file.ts",
    "if ((await stat(file)).size > LIMITS.configText)",
    "if (false)",
    "policy-files.test.ts",
  ),
  control(
    "policy-file-prefixes",
    "config-policy.ts",
    "    if (block.idPrefixes === undefined) {\n",
    "    if (false) {\n",
    "policy.test.ts",
  ),
  control(
    "unaccepted-connection",
    "judge.ts",
    "  if (verdict?.accepted !== true)\n    throw",
    "  if (verdict === undefined || verdict.accepted === undefined)\n    throw",
    "judge.test.ts",
  ),
  control(
    "authorizer-again-gone",
    "running.ts",
    "entry.at < 0 || room(entry.request.listener) !== then;",
    "room(entry.request.listener) !== then;",
    "running.test.ts",
  ),
  control(
    "token-platform-plaintext",
    "middleware/spiffe.ts",
    ' && c.req.url.startsWith("https://")',
    "",
    "middleware/middleware.test.ts",
  ),
  control("policy-file-glob", "policy-files.ts", "if (!name.startsWith(first) || ", "if (", "policy.test.ts"),
  control("odd-host", "target.ts", "(hosts.length > 0 && host === undefined) || ", "", "judge.test.ts"),
  control("odd-authority", "target.ts", " || (pseudo.length > 0 && stated === undefined)", "", "judge.test.ts"),
  control(
    "reload-admit-candidate",
    "live.ts",
    "if (live.config.candidate !== undefined && config.candidate !== undefined)",
    "if (false)",
    "live.test.ts",
  ),
  control(
    "rule-times-no-timer",
    "rule-times.ts",
    "        await rest(systemClock, TICK_MS, signal).catch(() => {});\n",
    "        return;\n",
    "rule-times.test.ts",
  ),
  control(
    "rule-times-no-time",
    "rule-times.ts",
    "return Number.isNaN(now) ? -1 : times",
    "return times",
    "rule-times.test.ts",
  ),
  control(
    "rejudge-end-fails",
    "running.ts",
    "  } catch {\n    // its connection",
    "  } catch (error) {\n    if (why !== undefined) throw error;\n    // its connection",
    "running.test.ts",
  ),
  control(
    "websocket-protocol",
    "websocket.ts",
    '      answer.value("upgrade")?.toLowerCase() !== "websocket" ||\n',
    "",
    "websocket.test.ts",
  ),
  control(
    "upgrade-left",
    "websocket.ts",
    "        if (this.#socket.destroyed) return this.#left();\n        const answer",
    "        const answer",
    "left-callers.test.ts",
  ),
  control("tunnel-pressure", "tunnel.ts", "if (!to.write(chunk)) from.pause();", "to.write(chunk);", "tunnel.test.ts"),
  control(
    "plain-host-again",
    "fetch-request.ts",
    'host === last.host && authority === last.authority && host !== ""',
    "host === last.host",
    "fetch-request.test.ts",
  ),
];

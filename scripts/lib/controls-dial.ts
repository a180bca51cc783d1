/** Controls of dialled connections: what may have changed since their verdict, and who else may use them. */
import { controlsIn } from "./control-row.ts";
import type { Control } from "./controls.ts";

const inTls = controlsIn("src/tls");
const control = (name: string, file: string, find: string, replace: string, test = "dial-race.test.ts"): Control =>
  inTls(name, file, find, replace, test);

export const DIAL_CONTROLS: readonly Control[] = [
  control(
    "dial-own-identity-again",
    "connect.ts",
    "          // Who was taken the identity from meanwhile sends nothing in its name.\n          ownSvid(identity, clock);\n",
    "",
  ),
  control("dial-vouched-by-now", "connect.ts", "isCurrent: () => vouches && isCurrent(", "isCurrent: () => isCurrent("),
  control("dial-rejudged", "connect.ts", "return still.ok === true ? undefined : still;", "return undefined;"),
  control(
    "dial-rejudged-fetch",
    "kept-connections.ts",
    "return fallenSince({ isCurrent, rejudge }) === undefined ? socket : socket.destroy();",
    "return socket;",
  ),
  control("dial-rejudged-session", "peer-sessions.ts", "if (fallen !== undefined) {", "if (false) {"),
  control("dial-rejudged-agent", "peer-agent.ts", "if (fallen !== undefined) socket.destroy();", ""),
  control(
    "dial-session-asks",
    "peer-sessions.ts",
    "isCurrent() && (expectationOf(authorize) !== undefined || rejudge().ok === true)",
    "isCurrent()",
    "connect-rpc.test.ts",
  ),
  control("dial-pool-host", "fetch.ts", "${host}\\n${port}\\n", "${port}\\n", "kept-connections.test.ts"),
  control("dial-pool-port", "fetch.ts", "${host}\\n${port}\\n", "${host}\\n", "kept-connections.test.ts"),
];

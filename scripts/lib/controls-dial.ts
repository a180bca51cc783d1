/** Controls of dialled connections: what may have changed since their verdict. */
import type { Control } from "./controls.ts";

function control(name: string, file: string, find: string, replace: string): Control {
  return { name, patches: [{ file: `src/tls/${file}`, find, replace }], tests: ["src/tls/dial-race.test.ts"] };
}

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
];

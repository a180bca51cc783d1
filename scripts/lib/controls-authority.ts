/** The controls of the embedded authority. */
import { type Control, controlsIn } from "./control-row.ts";

const control = controlsIn("src/authority");

export const AUTHORITY_CONTROLS: readonly Control[] = [
  control(
    "authority-entry-domain",
    "entries.ts",
    "if (!id.value.memberOf(trustDomain)) throw",
    "if (false) throw",
    "entries.test.ts",
  ),
  control(
    "authority-entry-socket",
    "entries.ts",
    "const SOCKET_NAME = /^[A-Za-z0-9_-]",
    "const SOCKET_NAME = /[A-Za-z0-9_-]",
    "entries.test.ts",
  ),
  control(
    "authority-directory-owner",
    "socket-directory.ts",
    "if (stat.uid !== process.getuid?.()) throw",
    "if (false) throw",
    "socket-directory.test.ts",
  ),
  control(
    "authority-directory-mode",
    "socket-directory.ts",
    "if ((stat.mode & 0o777) !== 0o700) {",
    "if ((stat.mode & 0o776) !== 0o700) {",
    "socket-directory.test.ts",
  ),
  control(
    "authority-one-protocol",
    "unix-server.ts",
    "    connect: false,\n    grpcWeb: false,\n",
    "",
    "workload-endpoint.test.ts",
  ),
];

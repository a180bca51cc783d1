/** Controls of who is believed about the first caller, and of what is taken for its ID. */
import { type Control, controlsIn } from "./control-row.ts";

const inGateway = controlsIn("src/gateway");
const UNIT = "middleware/forwarded.test.ts";
const WIRE = "forwarded.test.ts";
const PART = "middleware/forwarded.ts";

const control = (name: string, file: string, find: string, replace: string, ...tests: readonly string[]): Control =>
  inGateway(`forwarded-${name}`, file, find, replace, ...tests);

const byConnection = control(
  "by-request",
  PART,
  "claims.set(request, values);",
  "claims.set((request as { socket: object }).socket, values);",
  UNIT,
);

export const FORWARDED_CONTROLS: readonly Control[] = [
  control("peer", PART, " || !from.has(peer.id.uri)) return NOBODY;", ") return NOBODY;", WIRE),
  control("by-certificate", PART, 'if (peer.via !== "x509" || ', "if (", WIRE),
  control(
    "bytes",
    PART,
    "return speaksHttp(incoming) ? claimed(values) :",
    "return true ? claimed(values) :",
    UNIT,
    WIRE,
  ),
  control(
    "bytes-agreed",
    PART,
    'return agreed === "h2" || agreed === "http/1.1";',
    "return agreed !== undefined;",
    UNIT,
  ),
  control("doubled", PART, "if (values.length !== 1) return", "if (values.length === 0) return", WIRE),
  control(
    "strict",
    PART,
    "SpiffeId.safeParse(values[0] as string)",
    "SpiffeId.safeParseConfig(values[0] as string)",
    WIRE,
  ),
  control("malformed", PART, "return id.ok ? id : refuse(", "return id.ok ? id : NOBODY ?? refuse(", WIRE),
  control("spelling", "app-handler.ts", "if (lower === IDENTITY_FIELD) (claims", "(claims", WIRE),
  control("unstripped", PART, "    if (incoming !== undefined) assertStripped(incoming);\n", "", UNIT, WIRE),
  control(
    "assumed",
    PART,
    "if (incoming === undefined) return accept(assumedCaller(env));",
    "if (incoming === undefined || assumedCaller(env) !== undefined) return accept(assumedCaller(env));",
    WIRE,
  ),
  control(
    "overwritten",
    "middleware/spiffe.ts",
    'c.set("caller", caller.value);',
    'if (caller.value !== undefined) c.set("caller", caller.value);',
    UNIT,
  ),
  control("exact", PART, 'if (exact === undefined || exact.path === "") {', "if (exact === undefined) {", UNIT),
  control("from-strict", PART, "? SpiffeId.safeParse(one)", "? SpiffeId.safeParseConfig(one)", UNIT),
  control("nobody", PART, "if (!Array.isArray(from) || from.length === 0) {", "if (!Array.isArray(from)) {", UNIT),
  control("options", PART, '  onlyKnown("spiffe({ forwarded })", options, KNOWN);\n', "", UNIT),
  control(
    "copied",
    PART,
    "  const from = trusted(options);\n  return (peer, env) => {\n",
    "  trusted(options);\n  return (peer, env) => {\n    const from = trusted(options);\n",
    UNIT,
  ),
  // the others refuse such a head by themselves
  {
    ...control(
      "field-count",
      "../tls/entries.ts",
      "if (request.rawHeaders.length > 2 * MAX_FIELDS) return false;",
      "",
      WIRE,
    ),
    runtimes: ["deno"],
  },
  {
    ...byConnection,
    patches: [
      ...byConnection.patches,
      {
        file: `src/gateway/${PART}`,
        find: "claims.get(incoming)",
        replace: "claims.get((incoming as { socket: object }).socket)",
      },
    ],
  },
];

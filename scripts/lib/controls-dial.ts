/** Controls of dialled connections: what may have changed since their verdict, and who else may use them. */
import { type Control, controlsIn } from "./control-row.ts";

const inTls = controlsIn("src/tls");
const control = (name: string, file: string, find: string, replace: string, test = "dial-race.test.ts"): Control =>
  inTls(name, file, find, replace, test);

/** The plain dial in place of the one that looks again at what vouches for the peer: `row` takes the call out of its file. */
export function withoutSecondLook({ patches: [call], ...row }: Control): Control {
  const { file, find } = call!;
  return {
    ...row,
    patches: [
      { file, find, replace: find.replace("connectVouched", "connect") },
      { file, find: "import { connectVouched", replace: "import { connect, connectVouched" },
    ],
  };
}

const REPEATS = "fetch-repeats.test.ts";

export const DIAL_CONTROLS: readonly Control[] = [
  control(
    "dial-own-identity-again",
    "connect.ts",
    "          // Who was taken the identity from meanwhile sends nothing in its name.\n          ownSvid(identity, clock);\n",
    "",
  ),
  control("dial-vouched-by-now", "connect.ts", "isCurrent: () => vouches && isCurrent(", "isCurrent: () => isCurrent("),
  control("dial-rejudged", "connect.ts", "return still.ok === true ? undefined : still;", "return undefined;"),
  ...(
    [
      ["fetch", "fetch.ts", "    connectVouched(identity, {"],
      ["session", "peer-sessions.ts", "await connectVouched(this.#identity, {"],
      ["agent", "peer-agent.ts", "    connectVouched(identity, {"],
      ["options", "tls-options.ts", "    connectVouched(identity, {"],
      ["grpc", "grpc-credentials.ts", "await connectVouched(identity, {"],
      ["stream", "verified-stream.ts", "return (await connectVouched(identity, { ...common, host,"],
    ] as const
  ).map(([way, file, call]) => withoutSecondLook(control(`dial-rejudged-${way}`, file, call, ""))),
  control(
    "dial-session-own",
    "peer-sessions.ts",
    "const mayShare = under?.own !== undefined && isOwn(under.own, this.#identity, this.#clock);",
    "const mayShare = under !== undefined;",
  ),
  control(
    "dial-session-asks",
    "peer-sessions.ts",
    "isCurrent() && (expectationOf(authorize) !== undefined || rejudge().ok === true)",
    "isCurrent()",
    "connect-rpc.test.ts",
  ),
  control(
    "fetch-body-used",
    "fetch-request.ts",
    "  const platform = written(given);\n  if (given instanceof ReadableStream) return { stream: given as ReadableStream<Uint8Array> };\n",
    "  if (given instanceof ReadableStream) return { stream: given as ReadableStream<Uint8Array> };\n  const platform = written(given);\n",
    REPEATS,
  ),
  control("fetch-late-once", "fetch-exchange.ts", "this.#phase, isRepeatable(this.#call)", "this.#phase", REPEATS),
  control("fetch-ended-once", "fetch-exchange.ts", "retryable: anew && isRepeatable(call)", "retryable: anew", REPEATS),
  control("fetch-broken-once", "fetch-exchange.ts", "retryable: isRepeatable(call) && ", "retryable: ", REPEATS),
  control(
    "fetch-source-error",
    "fetch-exchange.ts",
    "this.#fail(upstreamError(this.#call, this.#phase, error));",
    "this.#broken(error);",
    REPEATS,
  ),
  control("dial-pool-host", "fetch.ts", "${host}\\n${port}\\n", "${port}\\n", "kept-connections.test.ts"),
  control("dial-pool-port", "fetch.ts", "${host}\\n${port}\\n", "${host}\\n", "kept-connections.test.ts"),
];

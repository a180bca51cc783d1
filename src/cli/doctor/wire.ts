/** The checks on the wire before any identity: does something answer, does it refuse what it must, is it well? */
import type { Socket } from "node:net";
import type { Endpoint } from "../../workload/index.ts";
import { dial, GRPC_CODES, type RawAnswer, rawCall } from "./raw-grpc.ts";
import { type Finding, failed, failure, ok, skipped } from "./report.ts";

const INVALID_ARGUMENT = GRPC_CODES.indexOf("InvalidArgument");
const UNIMPLEMENTED = GRPC_CODES.indexOf("Unimplemented");

/** Opens a connection and leaves it. */
export async function checkConnect(endpoint: Endpoint, timeoutMs: number): Promise<Finding> {
  let socket: Socket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(Object.assign(new Error("no answer"), { code: "ETIMEDOUT" })), timeoutMs);
      socket = dial(endpoint);
      socket.once("connect", resolve).on("error", reject);
    });
    return ok("a connection opens");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    const stale = code === "ECONNREFUSED" && endpoint.kind === "unix";
    const detail = stale
      ? "nobody listens on the socket (ECONNREFUSED): an agent that has ended left it behind"
      : `no connection (${code})`;
    return failed(detail, stale ? "start the agent again" : "see that the agent runs and listens at this address", {
      code,
    });
  } finally {
    clearTimeout(timer);
    socket?.destroy();
  }
}

/** Calls without the header; the standard wants that refused, so that nobody can be tricked into calling (WE-06). */
export async function checkHeader(endpoint: Endpoint, timeoutMs: number): Promise<Finding> {
  const call = rawCall(endpoint, "/SpiffeWorkloadAPI/FetchX509SVID", { headers: {}, timeoutMs });
  const answer = await call.catch(failure);
  if ("detail" in answer) return answer;
  if (answer.status === INVALID_ARGUMENT)
    return ok("a call without workload.spiffe.io: true is refused (InvalidArgument)");
  const facts = { code: nameOf(answer) };
  if (answer.status === UNIMPLEMENTED) {
    return failed(
      "what listens there offers no Workload API (Unimplemented)",
      "correct the address: it is another service's",
      facts,
    );
  }
  const detail = `a call without workload.spiffe.io: true is answered with ${nameOf(answer)}, not refused with InvalidArgument`;
  return failed(
    detail,
    "use an agent that refuses it: whoever can make a program connect gets identities from this one",
    facts,
  );
}

/** The gRPC health service, which an agent may offer on its socket. */
export async function checkHealth(endpoint: Endpoint, timeoutMs: number): Promise<Finding> {
  const headers = { "workload.spiffe.io": "true" };
  const answer = await rawCall(endpoint, "/grpc.health.v1.Health/Check", { headers, timeoutMs }).catch(failure);
  if ("detail" in answer) return answer;
  if (answer.status === UNIMPLEMENTED) return skipped("the agent offers no gRPC health service");
  const facts = { code: nameOf(answer) };
  if (answer.status !== 0)
    return failed(
      `the agent's health service answers ${nameOf(answer)}: ${answer.message}`,
      "see the agent's log",
      facts,
    );
  // One enumeration, field 1: 1 is SERVING.
  const [tag, state] = answer.body ?? [];
  if (tag === 0x08 && state === 1) return ok("the agent says that it serves");
  return failed("the agent says that it does not serve", "see the agent's log and its readiness", facts);
}

function nameOf({ status }: RawAnswer): string {
  return GRPC_CODES[status] ?? `code ${status}`;
}

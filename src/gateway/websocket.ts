/** WebSocket through the gateway (RFC 6455): judged as every request, then bytes both ways until either side ends. */
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { Unsendable } from "../tls/http1/call.ts";
import { requestHead } from "../tls/http1/connection.ts";
import type { UpgradeHandler } from "../tls/index.ts";
import { endSocket, hasBody } from "./answer.ts";
import { type Field, fieldsOf, responseFields } from "./headers.ts";
import { beginJourney, type Journey } from "./journey.ts";
import { type Judged, judgeCurrent } from "./judge.ts";
import type { Problem } from "./middleware/problem.ts";
import type { Passed } from "./proxy-stream.ts";
import { refusalAnswer } from "./refusal.ts";
import { enterRunning } from "./rejudge.ts";
import { record } from "./request-record.ts";
import { type Room, upstreamOf } from "./room.ts";
import { Tunnel } from "./tunnel.ts";
import { AnswerHead, headOf } from "./upstream/answer-head.ts";
import { forwardedFields } from "./upstream-fields.ts";
import { badGateway, dialOutcome, isOwnTrouble, timeout, unavailable, unsendable } from "./upstream-problem.ts";

/** What a server appends to a client's key to show that it speaks WebSocket (RFC 6455 section 1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const acceptOf = (key: string): string =>
  createHash("sha1")
    .update(key + GUID)
    .digest("base64");

/** What is wrong with a request for WebSocket, or undefined. */
function handshakeFault(request: IncomingMessage): string | undefined {
  const { headers } = request;
  if (headers.upgrade?.toLowerCase() !== "websocket") return "Only WebSocket is served by an upgrade";
  if (request.method !== "GET" || hasBody(request)) return "WebSocket begins with a GET without body";
  if (headers["sec-websocket-version"] !== "13") return "WebSocket is served in version 13";
  if (!/^[A-Za-z0-9+/]{22}==$/.test(headers["sec-websocket-key"] ?? "")) return "WebSocket needs one key of 16 bytes";
  return undefined;
}

/**
 * Takes `Upgrade` requests of a listener. Every one ends in exactly one log line.
 *
 * @param current what is in force; asked once per request
 */
export function upgradeHandler(current: () => Room): UpgradeHandler {
  return async function gatewayUpgrade(request, socket, head) {
    let room = current();
    const journey = beginJourney(room, request);
    let passed: Passed;
    try {
      passed = await judgeCurrent(current, request, journey, async (found, judged) => {
        room = found;
        const { requestId } = journey;
        const fault = "status" in judged ? judged : upgradeFault(judged, request);
        if (fault !== undefined) return refuse(room, request, socket, { ...fault, requestId });
        return new Upgrade(room, request, socket, head, judged as Judged, journey).run();
      });
    } catch (error) {
      const { requestId } = journey;
      const problem: Problem = { status: 500, code: "ERR_SPIFFE_INTERNAL", detail: "The gateway failed", requestId };
      passed = { ...refuse(room, request, socket, problem), error };
    }
    record(room, request, journey, passed);
  };
}

function upgradeFault({ route }: Judged, request: IncomingMessage): Problem | undefined {
  const detail = route.websocket ? handshakeFault(request) : "This route takes no upgrade";
  if (detail === undefined) return undefined;
  return { status: 400, code: "ERR_SPIFFE_REQUEST", reason: "request.upgrade", detail };
}

/** Answers on the bare socket, and ends it. */
function refuse(room: Room, request: IncomingMessage, socket: Duplex, problem: Problem): Passed {
  const { status, headers, body } = refusalAnswer(request, problem, room.explain);
  const fields = Object.entries({ ...headers, "content-length": String(body.length), connection: "close" });
  socket.write(headOf(status, fields), "latin1");
  endSocket(socket, body, room.limits.bodyBytes, room.clock);
  return { status: problem.status, problem, bytesIn: 0, bytesOut: body.length, complete: !socket.destroyed };
}

class Upgrade {
  readonly #room: Room;
  readonly #request: IncomingMessage;
  readonly #socket: Duplex;
  readonly #early: Uint8Array;
  readonly #judged: Judged;
  readonly #journey: Journey;

  constructor(
    room: Room,
    request: IncomingMessage,
    socket: Duplex,
    early: Uint8Array,
    judged: Judged,
    journey: Journey,
  ) {
    this.#room = room;
    this.#request = request;
    this.#socket = socket;
    this.#early = early;
    this.#judged = judged;
    this.#journey = journey;
  }

  async run(): Promise<Passed> {
    const { route } = this.#judged;
    const upstream = upstreamOf(this.#room, route);
    const leave = enterRunning(this.#room, this.#request, this.#judged, this.#journey, upstream, () => {
      this.#socket.destroy();
    });
    const startedAt = this.#room.clock.monotonic();
    let outgoing: Duplex | undefined;
    let late = false;
    const gone = () => outgoing?.destroy();
    this.#socket.once("close", gone);
    const deadline = upstream.deadlines.after(route.timeoutMs, () => {
      late = true;
      outgoing?.destroy();
    });
    try {
      await upstream.ready();
      const tries = upstream.enter();
      if ("status" in tries) return this.#refused(tries);
      try {
        try {
          outgoing = await tries.endpoint.open();
        } catch (error) {
          if (!isOwnTrouble(error)) tries.note(dialOutcome(error));
          tries.failed();
          return this.#refused(unavailable(error), error);
        }
        if (this.#socket.destroyed) return this.#left();
        const { authority } = tries.endpoint.target;
        // its time may have passed while the upstream was dialled: nothing would end what begins now
        const asked = late ? Promise.reject(new Error("The connection came too late")) : this.#ask(outgoing, authority);
        const answer = await asked.catch((error: unknown) => {
          // no word on the upstream, which was not asked
          if (error instanceof Unsendable) return error;
          tries.note(late ? "timeout" : "aborted");
          tries.failed();
          return error;
        });
        if (!(answer instanceof AnswerHead)) {
          if (this.#socket.destroyed) return this.#left();
          if (answer instanceof Unsendable) return this.#refused(unsendable(answer.message), answer.cause);
          const problem = late
            ? timeout("The upstream's answer did not begin in time")
            : badGateway("The upstream gave no answer to the upgrade");
          return this.#refused(problem, answer);
        }
        tries.answered();
        deadline.cancel();
        return await this.#carry(outgoing, answer, this.#room.clock.monotonic() - startedAt);
      } finally {
        tries.left();
      }
    } finally {
      leave();
      deadline.cancel();
      this.#socket.off("close", gone);
      outgoing?.destroy();
    }
  }

  /** Sends the request and waits for the head of the answer. */
  async #ask(outgoing: Duplex, authority: string): Promise<AnswerHead> {
    const { method, target } = this.#judged.target;
    const fields: Field[] = forwardedFields(this.#room, this.#request, this.#judged, this.#journey)(authority);
    fields.push(["connection", "Upgrade"], ["upgrade", "websocket"]);
    outgoing.write(requestHead({ method, target, fields, withBody: false }), "latin1");
    const answer = await AnswerHead.read(outgoing);
    if (answer.status !== 101) return answer;
    const key = this.#request.headers["sec-websocket-key"] as string;
    if (
      answer.value("upgrade")?.toLowerCase() !== "websocket" ||
      answer.value("sec-websocket-accept") !== acceptOf(key)
    ) {
      throw new Error("The upstream switched to something else than was asked for");
    }
    return answer;
  }

  async #carry(outgoing: Duplex, { status, fields, rest }: AnswerHead, upstreamMs: number): Promise<Passed> {
    const { requestId } = this.#journey;
    const passing = responseFields(fieldsOf(fields), requestId, status);
    if (status !== 101) {
      // a refusal by the upstream: its status, without what its connection still says
      const kept = passing.filter(([name]) => name.toLowerCase() !== "content-length");
      const length: Field[] = status === 204 || status === 304 ? [] : [["content-length", "0"]];
      const { clock, limits } = this.#room;
      endSocket(this.#socket, headOf(status, [...kept, ...length, ["connection", "close"]]), limits.bodyBytes, clock);
      return { status, upstreamMs, bytesIn: 0, bytesOut: 0, complete: true };
    }
    this.#socket.write(headOf(101, [...passing, ["connection", "Upgrade"], ["upgrade", "websocket"]]), "latin1");
    const { clock, limits, upstreams } = this.#room;
    const { deadlines } = upstreams.get(this.#judged.route.upstream) as { deadlines: Tunnel["deadlines"] };
    const tunnel = new Tunnel(this.#socket, outgoing, { clock, deadlines, idleMs: limits.idleMs });
    const { toSecond: bytesIn, toFirst: bytesOut, error, complete } = await tunnel.run(this.#early, rest);
    return { status: 101, upstreamMs, bytesIn, bytesOut, complete, error };
  }

  #refused(problem: Problem, error?: unknown): Passed {
    const told = { ...problem, requestId: this.#journey.requestId };
    return { ...refuse(this.#room, this.#request, this.#socket, told), error };
  }

  #left(): Passed {
    return { status: 0, bytesIn: 0, bytesOut: 0, complete: false };
  }
}

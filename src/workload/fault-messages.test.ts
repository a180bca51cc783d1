/** Every fault that the fake knows, at every call and stream: a typed error that names socket, phase and gRPC code. */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { Code } from "@connectrpc/connect";
import { eventually } from "../../test/support/eventually.ts";
import { type FakeMethod, FakeWorkloadApi, type GrpcCode, type MessageFault } from "../authority/testing.ts";
import type { ErrorCode } from "../base/codes.ts";
import { isSpiffeError, type SpiffeError } from "../base/errors.ts";
import { type JwtSource, Workload, WorkloadApiClient, type X509Source } from "./index.ts";

type Call = (timeoutMs?: number) => Promise<unknown>;

const CODES = Object.keys(Code).filter((name) => /^[A-Z]/.test(name)) as GrpcCode[];
const FINAL: readonly string[] = ["InvalidArgument", "Unimplemented"];
const SPECIAL: Partial<Record<GrpcCode, ErrorCode>> = {
  PermissionDenied: "ERR_SPIFFE_NO_IDENTITY",
  DeadlineExceeded: "ERR_SPIFFE_TIMEOUT",
};

let fake: FakeWorkloadApi;
let client: WorkloadApiClient;
/** A token of the fake's. */
let token: string;

const CALLS: readonly [FakeMethod, phase: string, Call][] = [
  ["FetchX509SVID", "fetch-x509", (timeoutMs) => client.fetchX509Context({ timeoutMs })],
  ["FetchX509Bundles", "fetch-x509-bundles", (timeoutMs) => client.fetchX509Bundles({ timeoutMs })],
  ["FetchJWTSVID", "fetch-jwt", (timeoutMs) => client.fetchJwtSvid({ audience: "a", timeoutMs })],
  ["FetchJWTBundles", "fetch-jwt-bundles", (timeoutMs) => client.fetchJwtBundles({ timeoutMs })],
  ["ValidateJWTSVID", "validate-jwt", (timeoutMs) => client.validateJwtSvid({ token, audience: "a", timeoutMs })],
];

beforeEach(async () => {
  fake = await FakeWorkloadApi.start();
  client = new WorkloadApiClient({ socket: fake.socket, keepaliveMs: 200 });
  token = (await client.fetchJwtSvid({ audience: "a" })).token;
});

afterEach(async () => {
  await client.close();
  await fake.close();
});

/** Requires the error, and in its sentence the socket and what stands for the gRPC code. */
function assertTells(error: unknown, phase: RegExp, says: RegExp): asserts error is SpiffeError {
  assert.ok(isSpiffeError(error), String(error));
  assert.ok(error.message.includes(fake.socket), error.message);
  assert.match(error.message, says);
  assert.match(String(error.phase), phase, error.message);
  assert.ok(!error.message.includes(token));
}

const thrownBy = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => assert.fail("it was answered"),
    (error: unknown) => error,
  );

/** Asks until it is answered: a connection may have to be found dead first. */
async function answered(call: Call): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return void (await call(2_000));
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}

/** Spoils the next answer: not one on a stream whose end the fake has not seen yet. */
async function spoilNext(fault: MessageFault, method: FakeMethod): Promise<void> {
  await eventually(() => fake.openStreams(method) === 0, "the end of the stream before");
  assert.equal(fake.spoil(fault, method), 0);
}

const phaseOf = (name: string) => new RegExp(`^${name}$`);

describe("what a call says of a fault", () => {
  for (const code of CODES) {
    it(`[WE-16] ${code}: socket, phase, code and what the agent said, from every call`, async () => {
      for (const [method, phase, call] of CALLS) {
        fake.fail(code, { method, message: "scripted", calls: 1 });
        const error = await thrownBy(call());
        assertTells(error, phaseOf(phase), new RegExp(`\\(${code}\\): scripted$`));
        const refused = method === "ValidateJWTSVID" && code === "InvalidArgument";
        assert.equal(error.code, refused ? "ERR_SPIFFE_JWT_VERIFY" : (SPECIAL[code] ?? "ERR_SPIFFE_WORKLOAD_API"));
        assert.equal(error.retryable, !FINAL.includes(code));
        await call();
      }
    });
  }

  const broken: [MessageFault, RegExp][] = [
    ["corrupt", /\(Internal\)/],
    ["truncated", /\(Internal\)/],
    ["oversized", /\(ResourceExhausted\)/],
  ];
  for (const [fault, says] of broken) {
    it(`[WE-16] a ${fault} message, from every call`, async () => {
      for (const [method, phase, call] of CALLS) {
        // A connection of its own: what is still to be sent of large answers counts against the next call on it.
        await client.close();
        client = new WorkloadApiClient({ socket: fake.socket });
        await spoilNext(fault, method);
        assertTells(await thrownBy(call()), phaseOf(phase), says);
        await answered(call);
      }
    });
  }

  const dropped: [FakeMethod, MessageFault[]][] = [
    ["FetchX509SVID", ["wrong-key", "trailing-byte", { empty: "svids" }, { empty: "bundle" }]],
    ["FetchX509Bundles", [{ empty: "bundles" }, { empty: "bundle" }]],
    ["FetchJWTSVID", [{ empty: "svids" }, { empty: "svid" }, { empty: "spiffe_id" }]],
    ["FetchJWTBundles", [{ empty: "bundles" }, { empty: "bundle" }]],
    ["ValidateJWTSVID", [{ empty: "spiffe_id" }, { empty: "claims" }]],
  ];
  for (const [method, faults] of dropped) {
    it(`[WL-11] an answer of ${method} that breaks a rule: the rule in the place of the code`, async () => {
      const [, phase, call] = CALLS.find(([name]) => name === method)!;
      for (const fault of faults) {
        await spoilNext(fault, method);
        const error = await thrownBy(call());
        assertTells(error, phaseOf(phase), / was refused: /);
        assert.match(String(error.reason), /^(?:workload|x509|jwt|bundle|encoding)\./, JSON.stringify(fault));
        await call();
      }
    });
  }

  const whileWaiting: [string, () => unknown, RegExp][] = [
    ["a connection that breaks off", () => fake.cut(), /\((?:Canceled|Aborted|Internal|Unavailable)\)/],
    ["GOAWAY with an error", () => fake.goAway("INTERNAL_ERROR"), /\(Internal\)/],
    ["GOAWAY for too many calls", () => fake.goAway("ENHANCE_YOUR_CALM"), /\((?:Internal|ResourceExhausted)\)/],
    ["a connection that falls silent", () => fake.halfOpen(), /no answer to a PING \(Unavailable\)/],
    ["an agent that ends", () => fake.stop(), /\((?:Canceled|Aborted|Internal|Unavailable, ENOENT)\)/],
  ];
  for (const [what, cause, says] of whileWaiting) {
    it(`[WE-16] ${what} while a call waits`, async () => {
      for (const [method, phase, call] of CALLS) {
        fake.delay(5_000, method);
        const seen = fake.calls(method).length;
        const waiting = thrownBy(call());
        await eventually(() => fake.calls(method).length > seen, "the call");
        await cause();
        assertTells(await waiting, new RegExp(`^(?:${phase}|connect)$`), says);
        await fake.heal();
        await answered(call);
      }
    });
  }

  it("[WE-16] an answer that does not come in time, and an agent that is not there", async () => {
    for (const [method, phase, call] of CALLS) {
      fake.delay(5_000, method);
      const error = await thrownBy(call(50));
      assertTells(error, phaseOf(phase), /\(DeadlineExceeded\)/);
      assert.equal(error.code, "ERR_SPIFFE_TIMEOUT");
    }
    await fake.stop();
    for (const [, , call] of CALLS) {
      const error = await thrownBy(call(5_000));
      assertTells(error, /^(?:connect|[a-z0-9-]+)$/, /\((?:Canceled|Aborted|Internal|Unavailable, ENOENT)\)/);
    }
  });
});

describe("what a source says of a fault", () => {
  let workload: Workload;

  beforeEach(async () => {
    workload = await Workload.open({ socket: fake.socket, keepaliveMs: 200 });
  });

  afterEach(() => workload.close());

  const sources: [string, () => X509Source | JwtSource][] = [
    ["watch-x509", () => workload.x509],
    ["watch-jwt-bundles", () => workload.jwt],
  ];

  for (const code of CODES) {
    it(`[WE-16] ${code}: socket, phase, code and what the agent said, of every stream`, async () => {
      fake.fail(code, { message: "scripted", calls: 0 });
      for (const [phase, source] of sources) {
        await eventually(() => source().lastError !== undefined, "the error");
        assertTells(source().lastError, phaseOf(phase), new RegExp(`\\(${code}\\): scripted$`));
        assert.equal(source().lastError?.retryable, !FINAL.includes(code));
      }
    });
  }

  const faults: [string, () => unknown, RegExp][] = [
    ["a reset stream", () => fake.reset(), /\(Internal\)/],
    ["a connection that breaks off", () => fake.cut(), /\((?:Canceled|Aborted|Internal|Unavailable)\)/],
    ["GOAWAY with an error", () => fake.goAway("INTERNAL_ERROR"), /\(Internal\)/],
    ["a silent connection", () => fake.halfOpen(), /no answer to a PING \(Unavailable\)/],
    ["an agent that ends", () => fake.stop(), /\((?:Canceled|Aborted|Internal|Unavailable, (?:ENOENT|ECONNREFUSED))\)/],
    ["another agent in its place", () => fake.replace(), /was replaced by another \(Unavailable\)/],
    ["a redaction", () => fake.redact(), /\(PermissionDenied\)/],
  ];
  for (const [what, cause, says] of faults) {
    it(`[WE-16] ${what}, of every stream`, async () => {
      await cause();
      for (const [phase, source] of sources) {
        await eventually(() => source().lastError !== undefined, "the error");
        assertTells(source().lastError, new RegExp(`^(?:${phase}|connect)$`), says);
      }
    });
  }
});

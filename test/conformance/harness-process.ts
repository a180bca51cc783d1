/** The harness in a process of its own, and what a test does with it from outside. */

import type { AddressInfo } from "node:net";
import { connect, createServer, type Server } from "node:tls";
import { presentedChain } from "../../src/tls/chain.ts";
import { Certificate } from "../../src/x509/index.ts";
import { type Ended, onThisRuntime, Program } from "../support/programs.ts";

/** PEM that a client or server shows; nothing for a client without a certificate. */
export type Shown = { readonly cert: string; readonly key: string } | undefined;

/** An answer of the control port. */
export interface Answer {
  /** The HTTP status. */
  readonly code: number;
  readonly status: string;
  readonly message?: string;
  readonly [member: string]: unknown;
}

/** What a client met at the X.509 port. */
export interface Probe {
  /** All that was written to it; empty when it was refused. */
  readonly line: string;
  /** The chain that the harness presented, leaf first. */
  readonly chain: readonly Certificate[];
}

const running = new Set<Program>();

/** Starts a harness; the address of a Workload API is all that it is told. */
export function launch(socket: string | undefined): Program {
  const program = new Program(onThisRuntime("test/conformance/harness.ts"), {
    env: { SPIFFE_ENDPOINT_SOCKET: socket },
  });
  running.add(program);
  void program.ended.finally(() => running.delete(program));
  return program;
}

/** Ends every harness that a test has left running. */
export async function endHarnesses(): Promise<void> {
  await Promise.all([...running].map((program) => program.end("SIGKILL")));
}

export class Harness {
  readonly program: Program;
  readonly x509Port: number;
  readonly #controlPort: number;

  private constructor(program: Program, x509Port: number, controlPort: number) {
    this.program = program;
    this.x509Port = x509Port;
    this.#controlPort = controlPort;
  }

  /** Starts it and waits for READY. */
  static start(socket: string): Promise<Harness> {
    return Harness.ready(launch(socket));
  }

  /** Waits for READY. */
  static async ready(program: Program): Promise<Harness> {
    const [, x509, control] = await program.until(
      /^SPIFFE_HARNESS_VERSION=1\nSPIFFE_X509_PORT=(\d+)\nSPIFFE_CONTROL_PORT=(\d+)\nREADY\n$/,
    );
    return new Harness(program, Number(x509), Number(control));
  }

  /** Sends a request to the control port; a body that is text goes as it is. */
  async ask(path: string, body?: object | string): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${this.#controlPort}${path}`, {
      method: body === undefined ? "GET" : "POST",
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    return { code: response.status, ...((await response.json()) as { status: string }) };
  }

  validate(token: string, audience = "conformance"): Promise<Answer> {
    return this.ask("/v1/jwt/validate", { token, audience });
  }

  /** Connects to the X.509 port as a client that checks nobody, and reads to the end. */
  probe(show: Shown): Promise<Probe> {
    return new Promise((resolve) => {
      let line = "";
      let chain: readonly Certificate[] = [];
      const socket = connect({ host: "127.0.0.1", port: this.x509Port, rejectUnauthorized: false, ...show });
      socket.setEncoding("latin1");
      socket.once("secureConnect", () => {
        const presented = presentedChain(socket);
        if (presented.ok) chain = presented.value.map((der) => Certificate.parse(der));
      });
      socket.on("data", (text: string) => {
        line += text;
      });
      socket.on("error", () => {});
      socket.once("close", () => resolve({ line, chain }));
    });
  }

  /** The SPIFFE ID that the harness presents to this client. */
  async presents(show: Shown): Promise<string | undefined> {
    return (await this.probe(show)).chain[0]?.uriSans[0];
  }

  /** Lets the harness dial a TLS server that shows this. */
  async dials(show: NonNullable<Shown>): Promise<Answer> {
    const server = createServer({ ...show, requestCert: true, rejectUnauthorized: false }, (socket) => {
      socket.on("error", () => {});
      socket.resume().end();
    });
    server.on("tlsClientError", () => {});
    await listening(server);
    try {
      return await this.ask("/v1/x509/dial", { address: `127.0.0.1:${(server.address() as AddressInfo).port}` });
    } finally {
      server.close();
    }
  }

  end(): Promise<Ended> {
    return this.program.end("SIGTERM");
  }
}

function listening(server: Server): Promise<void> {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
}

/** The external authorizer of the gateway's tests: a real server on loopback that answers as a test says. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What it was asked, and the ways to answer. */
export class Question {
  /** Path of the authorizer's address, by which a test tells its configurations apart. */
  readonly at: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly #response: ServerResponse;

  constructor(at: string, body: Record<string, unknown>, response: ServerResponse) {
    this.at = at;
    this.body = body;
    this.#response = response;
  }

  get peer(): string {
    return this.body.peer as string;
  }

  get path(): string {
    return this.body.path as string;
  }

  say(allow: boolean): void {
    this.send(200, JSON.stringify({ allow }));
  }

  send(status: number, body = ""): void {
    this.#response.writeHead(status, { "content-type": "application/json" }).end(body);
  }
}

export class TestAuthorizer {
  /** All that it was asked, in order. */
  readonly asked: Question[] = [];
  /** Called with each question once it is read whole; says yes unless a test sets another. */
  answer: (question: Question) => void = (question) => question.say(true);
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      let text = "";
      request.on("data", (chunk: Uint8Array) => {
        text += new TextDecoder().decode(chunk);
      });
      request.on("end", () => {
        const question = new Question(request.url ?? "", JSON.parse(text), response);
        this.asked.push(question);
        this.answer(question);
      });
    });
  }

  static async start(): Promise<TestAuthorizer> {
    const authorizer = new TestAuthorizer();
    await new Promise<void>((resolve) => authorizer.#server.listen(0, "127.0.0.1", resolve));
    return authorizer;
  }

  /** Its entry in a policy, with a time that no test reaches. */
  at(path = "/"): { url: string; timeout: string } {
    return { url: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`, timeout: "10s" };
  }

  /** Keeps questions for the test to answer, in the order in which they come. */
  hold(): Question[] {
    const held: Question[] = [];
    this.answer = (question) => void held.push(question);
    return held;
  }

  /** As at the beginning. */
  reset(): void {
    this.asked.length = 0;
    this.answer = (question) => question.say(true);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

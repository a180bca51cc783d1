/** The head of an answer to an upgrade, by the rules of {@link AnswerParser}. */
import type { Duplex } from "node:stream";
import { MAX_INTERIM, NoAnswer, readHead, VALUE } from "../../tls/http1/parser.ts";
import type { Field } from "../headers.ts";

/** A head, and the bytes behind it. */
export class AnswerHead {
  readonly status: number;
  /** Names and values in turn. */
  readonly fields: readonly string[];
  readonly rest: Uint8Array;

  private constructor(status: number, fields: readonly string[], rest: Uint8Array) {
    this.status = status;
    this.fields = fields;
    this.rest = rest;
  }

  /** The one value of a field; undefined where there is none, or several. */
  value(name: string): string | undefined {
    const values = this.fields.filter((_, i) => i % 2 === 1 && this.fields[i - 1]?.toLowerCase() === name);
    return values.length === 1 ? values[0] : undefined;
  }

  /** Reads a connection up to the end of the head, and leaves it paused. Rejects for what is no answer. */
  static read(connection: Duplex): Promise<AnswerHead> {
    return new Promise((resolve, reject) => {
      let bytes = Buffer.alloc(0);
      let interim = 0;
      const settle = (act: () => void) => {
        connection.off("data", onData).off("end", onEnd).off("error", reject).off("close", onEnd);
        // what comes later breaks the tunnel, or nothing
        connection.on("error", () => {});
        connection.pause();
        act();
      };
      const onEnd = () => settle(() => reject(new Error("The upstream closed the connection")));
      const onData = (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk]);
        try {
          for (let read = readHead(bytes); read !== undefined; read = readHead(bytes)) {
            const { status, fields, end } = read;
            bytes = bytes.subarray(end);
            if (status >= 200 || status === 101) {
              return settle(() => resolve(new AnswerHead(status, fields, bytes)));
            }
            if (++interim > MAX_INTERIM) throw new NoAnswer("The upstream sends interim answers without end");
          }
        } catch (error) {
          settle(() => reject(error));
        }
      };
      connection.on("data", onData).on("end", onEnd).on("error", reject).on("close", onEnd);
    });
  }
}

/** The head of an answer to a caller, for a bare socket. */
export function headOf(status: number, fields: readonly Field[]): string {
  let head = `HTTP/1.1 ${status} \r\n`;
  for (const [name, value] of fields) {
    if (!VALUE.test(value)) throw new NoAnswer("The upstream's answer cannot be passed on");
    head += `${name}: ${value}\r\n`;
  }
  return `${head}\r\n`;
}

/** Every way in which a program may show an object, and the forms in which a secret would show itself there. */
import { format, inspect } from "node:util";

interface OwnInspect {
  Bun?: { inspect(value: unknown, options: object): string };
  Deno?: { inspect(value: unknown, options: object): string };
}

const WHOLE = { depth: Number.POSITIVE_INFINITY, maxArrayLength: null, maxStringLength: null } as const;

/** The ways that show a copy of a value's fields, and not the value. */
export const COPIES: readonly string[] = ["structuredClone, inspected", "own properties"];

/** What a value looks like, by the name of the way it was shown in. */
export function printed(value: unknown): Map<string, string> {
  const { Bun, Deno } = globalThis as OwnInspect;
  const ways: Record<string, (() => unknown) | undefined> = {
    String: () => String(value),
    "JSON.stringify": () => JSON.stringify(value, bigintAsText),
    inspect: () => inspect(value),
    "inspect, whole": () => inspect(value, { ...WHOLE, showHidden: true, getters: false }),
    "console.log": () => format(value),
    "console.log with formats": () => format("%o %O %s", value, value, value),
    "structuredClone, inspected": () => inspect(structuredClone(value), { ...WHOLE, showHidden: true }),
    "own properties": () => inspect(ownProperties(value), { ...WHOLE, showHidden: true }),
    "Bun.inspect": Bun && (() => Bun.inspect(value, { depth: 40 })),
    "Deno.inspect":
      Deno &&
      (() => Deno.inspect(value, { depth: 6, showHidden: true, iterableLimit: 1_000, strAbbreviateSize: 100_000 })),
  };
  const texts = new Map<string, string>();
  for (const [way, show] of Object.entries(ways)) {
    if (show === undefined) continue;
    try {
      const text = show();
      if (text !== undefined) texts.set(way, String(text));
    } catch (error) {
      // a circle in JSON, a function to be cloned: what it says is shown as well
      texts.set(`${way}, failing`, String(error));
    }
  }
  return texts;
}

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}` : value;
}

/** A plain copy, as a program makes it by a spread before it logs. */
function ownProperties(value: unknown): unknown {
  return typeof value === "object" && value !== null ? { ...value } : value;
}

/** A secret in all the forms in which text could hold it: each long enough to be there only by a leak. */
export class Secret {
  readonly name: string;
  readonly #forms: readonly string[];

  private constructor(name: string, forms: readonly string[]) {
    this.name = name;
    this.#forms = forms.map(withoutSpace);
  }

  /** A text that must not be shown, nor a good part of it. */
  static text(name: string, text: string, part = 24): Secret {
    const middle = Math.max(0, Math.floor((text.length - part) / 2));
    return new Secret(name, [text.slice(middle, middle + part)]);
  }

  /** The secret numbers of a private key in PKCS#8: by themselves, and where they stand in the encoding's base64. */
  static async key(name: string, pkcs8: Uint8Array, algorithm: { name: string; namedCurve: string }): Promise<Secret> {
    const octets = pkcs8 as Uint8Array<ArrayBuffer>;
    const key = await crypto.subtle.importKey("pkcs8", octets, algorithm, true, ["sign"]);
    const { d } = await crypto.subtle.exportKey("jwk", key);
    const scalar = Buffer.from(d!, "base64url");
    const at = Buffer.from(pkcs8).indexOf(scalar);
    // three octets are four characters, so the encoding is cut at a multiple of three inside of the secret
    const start = Math.ceil(at / 3) * 3;
    const inside = Buffer.from(pkcs8.subarray(start, start + 12));
    const few = [...scalar.subarray(0, 6)];
    // PEM as bytes, not as text
    const pem = Buffer.from(inside.toString("base64"));
    return new Secret(name, [
      inside.toString("base64"),
      pem.toString("hex"),
      [...pem].join(","),
      inside.toString("base64url"),
      d!.slice(0, 16),
      scalar.toString("base64").slice(0, 16),
      scalar.toString("hex").slice(0, 16),
      scalar.toString("hex").slice(0, 16).toUpperCase(),
      few.join(","),
      few.map((octet, index) => `"${index + at}":${octet}`).join(","),
      few.map((octet, index) => `"${index}":${octet}`).join(","),
      scalar.toString("latin1"),
      BigInt(`0x${scalar.toString("hex")}`).toString(),
    ]);
  }

  /** Whether a text shows the secret; line breaks and columns do not hide it. */
  isIn(text: string): boolean {
    const whole = withoutSpace(text);
    return this.#forms.some((form) => whole.includes(form));
  }
}

function withoutSpace(text: string): string {
  return text.replace(/\s+/g, "");
}

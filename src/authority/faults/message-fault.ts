/** Spoilt messages: each wrong in one thing. */
import { type DescMessage, type Message, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { LIMITS, SpiffeError } from "../../base/index.ts";
import { concat } from "../asn1.ts";

/**
 * What is wrong with a message:
 *
 * - `corrupt`: its bytes are no message
 * - `truncated`: it breaks off within, and the stream ends as if all were well
 * - `oversized`: it is right, and larger than 4 MiB
 * - `duplicate-hint`: it is right, and its first two SVIDs have one hint, of which the first counts
 * - `wrong-key`: the key of its first SVID is another's
 * - `trailing-byte`: a byte too many stands behind the certificates of its first SVID
 * - `empty`: a field, by its name in the `.proto`, has its default value; in the answer, or in its first SVID or bundle
 * - `bytes`: it is what you give
 */
export type MessageFault =
  | "corrupt"
  | "truncated"
  | "oversized"
  | "duplicate-hint"
  | "wrong-key"
  | "trailing-byte"
  | { readonly empty: string }
  | { readonly bytes: Uint8Array };

/** A message as it goes on the wire; a torn one is followed by the end of its stream. */
export interface WireMessage {
  readonly body: Uint8Array;
  /** How many bytes of the body are sent, where it is not all. */
  readonly sent?: number;
}

/** The parts of the answers that faults touch. */
interface Parts {
  svids?: { spiffeId: string; x509Svid?: Uint8Array; x509SvidKey?: Uint8Array; hint: string }[];
  bundles?: Record<string, Uint8Array>;
}

/** A field number that no answer has; what stands there is read over. */
const UNKNOWN_FIELD = [0xa2, 0x06];

/**
 * Writes a message with one thing wrong.
 *
 * @param message a fresh one; it is changed
 * @param otherKey a private key that fits none of its SVIDs
 * @throws SpiffeError `ERR_SPIFFE_USAGE` when the message has no such part
 */
export function spoil<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  fault: MessageFault,
  otherKey: Uint8Array,
): WireMessage {
  const write = () => toBinary(schema, message);
  const parts = message as Message & Parts;
  const first = parts.svids?.[0];
  if (typeof fault === "object") {
    if ("bytes" in fault) return { body: fault.bytes };
    empty(schema, message, fault.empty);
    return { body: write() };
  }
  switch (fault) {
    case "corrupt":
      // A field of 127 bytes of which one is there.
      return { body: Uint8Array.of(0x0a, 0x7f, 0x00) };
    case "truncated": {
      const body = write();
      return { body, sent: body.length >> 1 };
    }
    case "oversized":
      return { body: concat([write(), padding(LIMITS.grpcMessage + 1)]) };
    case "duplicate-hint": {
      if (parts.svids === undefined || first === undefined) throw unfit(schema, fault);
      first.hint = "duplicate";
      parts.svids[1] = { ...(parts.svids[1] ?? first), hint: "duplicate" };
      return { body: write() };
    }
    case "wrong-key":
      if (first?.x509SvidKey === undefined) throw unfit(schema, fault);
      first.x509SvidKey = otherKey;
      return { body: write() };
    case "trailing-byte":
      if (first?.x509Svid === undefined) throw unfit(schema, fault);
      first.x509Svid = concat([first.x509Svid, new Uint8Array(1)]);
      return { body: write() };
  }
}

/** A field of zeros, at least so long. */
function padding(length: number): Uint8Array {
  const size: number[] = [];
  for (let rest = length; rest > 0; rest >>>= 7) size.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
  return concat([Uint8Array.from([...UNKNOWN_FIELD, ...size]), new Uint8Array(length)]);
}

function empty(schema: DescMessage, message: Message, name: string): void {
  const parts = message as Message & Parts;
  const own = schema.fields.find((field) => field.name === name);
  if (own !== undefined) {
    const kind = own.fieldKind;
    const value = kind === "list" ? [] : kind === "map" ? {} : kind === "message" ? undefined : "";
    Object.assign(message, { [own.localName]: value });
    return;
  }
  const list = schema.fields.find((field) => field.fieldKind === "list" && field.message !== undefined);
  const inner = list?.message?.fields.find((field) => field.name === name);
  const first = parts.svids?.[0];
  if (inner !== undefined && first !== undefined) {
    const value = (first as unknown as Record<string, unknown>)[inner.localName];
    Object.assign(first, { [inner.localName]: typeof value === "string" ? "" : new Uint8Array() });
    return;
  }
  const [key] = Object.keys(parts.bundles ?? {});
  if (name !== "bundle" || key === undefined || parts.bundles === undefined) throw unfit(schema, `empty ${name}`);
  parts.bundles[key] = new Uint8Array();
}

function unfit(schema: DescMessage, fault: string): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_USAGE", `${schema.name} has no place for the fault "${fault}"`);
}

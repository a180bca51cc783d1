/** General names (RFC 5280 §4.2.1.6), as subject alternative names and as name constraints have them. */
import { type DerReader, derFault } from "../encoding/der.ts";
import { type DistinguishedName, readName } from "./name.ts";

/** The kinds of general names; those that only a foreign system could read are told apart, but not read. */
export type GeneralNameKind = "other" | "email" | "dns" | "x400" | "directory" | "edi" | "uri" | "ip" | "registered-id";

/** A name: its content octets, and for a directory name the name itself. */
export interface GeneralName {
  readonly kind: GeneralNameKind;
  readonly value: Uint8Array;
  readonly directory?: DistinguishedName;
}

const KINDS: ReadonlyMap<number, GeneralNameKind> = new Map([
  [0xa0, "other"],
  [0x81, "email"],
  [0x82, "dns"],
  [0xa3, "x400"],
  [0xa4, "directory"],
  [0xa5, "edi"],
  [0x86, "uri"],
  [0x87, "ip"],
  [0x88, "registered-id"],
]);

/** Reads one general name; text must be IA5 (below 0x80), a directory name well formed. */
export function readGeneralName(reader: DerReader): GeneralName {
  const tag = reader.next;
  const kind = KINDS.get(tag);
  if (kind === undefined) derFault(`tag 0x${tag.toString(16)} is no general name`);
  if (kind === "directory") {
    const explicit = reader.enter(tag);
    const directory = readName(explicit);
    explicit.end();
    return { kind, value: directory.der, directory };
  }
  const value = reader.value(tag);
  if (kind === "uri" || kind === "dns" || kind === "email") {
    for (let i = 0; i < value.length; i++) if (value[i]! >= 0x80) derFault("an IA5String holds a byte above 7F");
  }
  return { kind, value };
}

/** Certificates from a draft in which every part can be wrong. Written by asn1js, not by the code under test. */
import * as asn1 from "../../src/authority/asn1.ts";
import {
  basicConstraints,
  type Extension,
  extKeyUsage,
  type GeneralNames,
  type KeyUsage,
  keyUsage,
  nameConstraints,
  subjectAltName,
} from "../../src/authority/certificate.ts";
import { unsigned } from "../../src/authority/keys.ts";
import { type AnyHash, type FixedKey, type Signing, sign } from "./keys.ts";
import type { Random } from "./random.ts";

/** What a certificate is going to say. `null` leaves an extension out. */
export interface Draft {
  /** Name in DER. */
  subject: Uint8Array;
  /** Whose name and key the certificate is issued under; itself when absent. */
  issuer?: Draft;
  key: FixedKey;
  signing: Signing;
  /** Content octets. */
  serial: Uint8Array;
  /** Milliseconds since the epoch, whole seconds. */
  notBefore: number;
  notAfter: number;
  version: 1 | 2 | 3;
  ca: boolean | null;
  pathLength?: number;
  keyUsage: readonly KeyUsage[] | null;
  keyUsageCritical: boolean;
  extKeyUsage: readonly string[] | null;
  names: GeneralNames | null;
  namesCritical: boolean;
  constraints?: { permitted: GeneralNames; excluded: GeneralNames };
  extensions: readonly Extension[];
  /** Written in place of the issuer's name. */
  issuerName?: Uint8Array;
  /** Signs in place of the issuer's key. */
  signer?: FixedKey;
  innerAlgorithm?: Uint8Array;
  /** Changes the finished certificate. */
  tamper?: (der: Uint8Array) => Uint8Array;
}

const HASH_OID: Readonly<Record<AnyHash, string>> = {
  "SHA-1": "1.3.14.3.2.26",
  "SHA-256": "2.16.840.1.101.3.4.2.1",
  "SHA-384": "2.16.840.1.101.3.4.2.2",
  "SHA-512": "2.16.840.1.101.3.4.2.3",
};
const ECDSA_OID: Readonly<Record<AnyHash, string>> = {
  "SHA-1": "1.2.840.10045.4.1",
  "SHA-256": "1.2.840.10045.4.3.2",
  "SHA-384": "1.2.840.10045.4.3.3",
  "SHA-512": "1.2.840.10045.4.3.4",
};
const RSA_OID: Readonly<Record<AnyHash, string>> = {
  "SHA-1": "1.2.840.113549.1.1.5",
  "SHA-256": "1.2.840.113549.1.1.11",
  "SHA-384": "1.2.840.113549.1.1.12",
  "SHA-512": "1.2.840.113549.1.1.13",
};
const SALT: Readonly<Record<AnyHash, number>> = { "SHA-1": 20, "SHA-256": 32, "SHA-384": 48, "SHA-512": 64 };

/** The AlgorithmIdentifier of a signature, DER. */
export function algorithmIdentifier(signing: Signing): Uint8Array {
  switch (signing.family) {
    case "ed25519":
      return asn1.sequence(asn1.oid("1.3.101.112"));
    case "ecdsa":
      return asn1.sequence(asn1.oid(ECDSA_OID[signing.hash]));
    case "rsa-pkcs1":
      return asn1.sequence(asn1.oid(RSA_OID[signing.hash]), asn1.nullValue());
    case "rsa-pss": {
      const hash = asn1.sequence(asn1.oid(HASH_OID[signing.hash]), asn1.nullValue());
      const mask = asn1.sequence(asn1.oid("1.2.840.113549.1.1.8"), hash);
      const salt = asn1.integer(signing.saltLength ?? SALT[signing.hash]);
      const parameters = [asn1.explicit(0, hash), asn1.explicit(1, mask), asn1.explicit(2, salt)];
      return asn1.sequence(asn1.oid("1.2.840.113549.1.1.10"), asn1.sequence(...parameters));
    }
  }
}

function extensionsOf(draft: Draft): Extension[] {
  const { ca, pathLength, names, constraints } = draft;
  return [
    ...(ca === null ? [] : [basicConstraints(ca, pathLength)]),
    ...(draft.keyUsage === null ? [] : [keyUsage(draft.keyUsage, draft.keyUsageCritical)]),
    ...(draft.extKeyUsage === null ? [] : [extKeyUsage(draft.extKeyUsage)]),
    ...(names === null ? [] : [subjectAltName(names, draft.namesCritical)]),
    ...(constraints === undefined ? [] : [nameConstraints(constraints.permitted, constraints.excluded)]),
    ...draft.extensions,
  ];
}

/** The part that is signed, DER. */
export function writeTbs(draft: Draft): Uint8Array {
  const { version } = draft;
  const extensions = extensionsOf(draft).map(({ oid, critical, value }) =>
    asn1.sequence(asn1.oid(oid), ...(critical ? [asn1.boolean(true)] : []), asn1.octetString(value)),
  );
  return asn1.sequence(
    ...(version === 1 ? [] : [asn1.explicit(0, asn1.integer(version - 1))]),
    asn1.integerBytes(draft.serial),
    draft.innerAlgorithm ?? algorithmIdentifier(draft.signing),
    draft.issuerName ?? (draft.issuer ?? draft).subject,
    asn1.sequence(asn1.time(new Date(draft.notBefore)), asn1.time(new Date(draft.notAfter))),
    draft.subject,
    draft.key.spki,
    ...(version < 3 || extensions.length === 0 ? [] : [asn1.explicit(3, asn1.sequence(...extensions))]),
  );
}

/** A certificate from its signed part, with the signature of that key. */
export function signTbs(tbs: Uint8Array, key: FixedKey, signing: Signing, random: Random): Uint8Array {
  let signature = sign(key, signing, tbs, random);
  if (signing.family === "ecdsa") {
    const size = signature.length / 2;
    const integers = [signature.subarray(0, size), signature.subarray(size)].map(unsigned).map(asn1.integerBytes);
    signature = asn1.sequence(...integers);
  }
  return asn1.sequence(tbs, algorithmIdentifier(signing), asn1.bitString(signature));
}

/** Writes and signs a certificate. */
export function writeCertificate(draft: Draft, random: Random): Uint8Array {
  const signer = draft.signer ?? (draft.issuer ?? draft).key;
  const der = signTbs(writeTbs(draft), signer, draft.signing, random);
  return draft.tamper === undefined ? der : draft.tamper(der);
}

/** What a listener proves itself with: an X.509-SVID, or a certificate of the Web PKI from files or text. */
import { createPrivateKey } from "node:crypto";
import { usage } from "../base/check-options.ts";
import { type Clock, timeOf } from "../base/clock.ts";
import { isSpiffeError, SpiffeError } from "../base/errors.ts";
import { privateKeyMatchesSync } from "../crypto/index.ts";
import { decodePem } from "../encoding/pem.ts";
import { readFileWhole } from "../workload/file-read.ts";
import { followFiles } from "../workload/file-watch.ts";
import { Certificate, type X509Svid } from "../x509/index.ts";
import type { TlsIdentity } from "./identity.ts";
import { type Material, materialOf, pemMaterial } from "./options.ts";
import { endOf, ownSvid } from "./own-identity.ts";
import { followSvid } from "./rotation.ts";

/** A certificate of the Web PKI, for clients that know host names only: PEM files, which are followed, or PEM text. */
export type WebCertificate =
  | { readonly certFile: string; readonly keyFile: string }
  | { readonly cert: string; readonly key: string };

/** A certificate that a listener can show. */
export interface ServerCertificate {
  /** What log lines call it. */
  readonly name: string;
  /** Wall time in milliseconds at which the first certificate of the chain ends. */
  readonly endsAt: number;
  /** @throws SpiffeError `ERR_SPIFFE_X509_SVID` when the key does not fit the leaf (S-3) */
  material(): Material;
}

/** Where the certificate of the moment comes from. */
export interface CertificateSource {
  /** @throws while there is none that is valid (S-10) */
  current(): ServerCertificate;
  /** Calls back with each later one, and with what kept one from being served, until the signal aborts. */
  follow(
    signal: AbortSignal,
    install: (next: ServerCertificate) => void,
    failed: (error: unknown) => void,
  ): Promise<void>;
}

/** The own SVID. */
export function svidCertificate(identity: TlsIdentity, clock: Clock): CertificateSource {
  let last: { readonly svid: X509Svid; readonly certificate: ServerCertificate } | undefined;
  const of = (svid: X509Svid): ServerCertificate => {
    if (last?.svid !== svid) {
      last = { svid, certificate: { name: svid.id.uri, endsAt: endOf(svid), material: () => materialOf(svid) } };
    }
    return last.certificate;
  };
  return {
    current: () => of(ownSvid(identity, clock)),
    follow: (signal, install, failed) => followSvid(identity, signal, (svid) => install(of(svid)), failed),
  };
}

/**
 * A certificate of the Web PKI; files are read now and whenever they change.
 *
 * @throws SpiffeError `ERR_SPIFFE_USAGE`; `ERR_SPIFFE_CONFIG`, `ERR_SPIFFE_PERMISSION` for files that can not be read;
 *   `ERR_SPIFFE_KEY` for what they hold, also when key and certificate do not belong together
 */
export async function webCertificate(given: WebCertificate, clock: Clock): Promise<CertificateSource> {
  const { certFile, keyFile, cert, key } = given as Partial<Record<"certFile" | "keyFile" | "cert" | "key", string>>;
  const names = Object.keys(given).sort().join();
  let read: () => Promise<ServerCertificate>;
  if (names === "certFile,keyFile" && typeof certFile === "string" && typeof keyFile === "string") {
    read = async () =>
      parsePair(text(await readFileWhole(certFile)), text(await readFileWhole(keyFile)), certFile, keyFile);
  } else if (names === "cert,key" && typeof cert === "string" && typeof key === "string") {
    read = async () => parsePair(cert, key, "certificate.cert", "certificate.key");
  } else
    throw usage(
      `Expected certificate to be { certFile, keyFile } or { cert, key }; got { ${names.replace(",", ", ")} }`,
    );
  let current = await read();
  return {
    current() {
      if (!(timeOf(clock) < current.endsAt)) {
        throw new SpiffeError("ERR_SPIFFE_EXPIRED", `The certificate ${current.name} ended and no newer one came`, {
          reason: "x509.expired",
          retryable: true,
        });
      }
      return current;
    },
    async follow(signal, install, failed) {
      if (certFile === undefined || keyFile === undefined) return;
      const again = async (last: boolean) => {
        try {
          const next = await read();
          if (next.material().cert === current.material().cert) return "done" as const;
          install(next);
          current = next;
          return "done" as const;
        } catch (error) {
          // Certificate and key are two files: between their writings they do not fit.
          if (!last && isSpiffeError(error, "ERR_SPIFFE_KEY")) return "torn" as const;
          failed(error);
          return "failed" as const;
        }
      };
      await followFiles({ paths: () => [certFile, keyFile], read: again, clock, signal }).catch(failed);
    },
  };
}

function parsePair(certPem: string, keyPem: string, certName: string, keyName: string): ServerCertificate {
  const chain = chainOf(certPem, certName);
  const leaf = chain[0]!;
  let pkcs8: Uint8Array;
  try {
    pkcs8 = createPrivateKey(keyPem).export({ format: "der", type: "pkcs8" });
  } catch {
    // The reason that the library gives could hold a part of the key.
    throw keyError(`Expected an unencrypted private key in PEM in ${keyName}; got something else`);
  }
  if (!privateKeyMatchesSync(pkcs8, leaf.publicKey)) {
    throw keyError(`Expected the private key in ${keyName} to fit the first certificate in ${certName}`);
  }
  const material = pemMaterial(certPem, keyPem);
  return {
    name: leaf.dnsSans[0] ?? certName,
    endsAt: Math.min(...chain.map(({ notAfter }) => notAfter.getTime())),
    material: () => material,
  };
}

function chainOf(pem: string, name: string): Certificate[] {
  const blocks = decodePem(pem);
  if (!blocks.ok) throw keyError(`Expected certificates in PEM in ${name}: ${blocks.message}`);
  const foreign = blocks.value.find(({ label }) => label !== "CERTIFICATE");
  if (foreign !== undefined) throw keyError(`Expected CERTIFICATE blocks only in ${name}; got ${foreign.label}`);
  if (blocks.value.length === 0) throw keyError(`Expected a certificate in ${name}; got none`);
  return blocks.value.map(({ der }) => {
    const certificate = Certificate.safeParse(der);
    if (!certificate.ok) throw keyError(`Expected certificates in ${name}: ${certificate.message}`);
    return certificate.value;
  });
}

function keyError(message: string): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_KEY", message, {
    phase: "read",
    hint: "Write both files anew, from one issuance",
  });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

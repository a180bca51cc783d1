/** Which backend checks a signature: one table with the measured reason of each row. */
import { SpiffeError } from "../base/index.ts";
import type { Curve } from "./algorithms.ts";
import { nodeVerifier } from "./native/node.ts";
import { webcryptoVerifier } from "./native/webcrypto.ts";
import type { PublicKey } from "./public-key.ts";
import type { PreparedCheck, SignatureVerifier, SyncSignatureVerifier } from "./verifier.ts";
import { setHostModule } from "./wasm/instance.ts";
import { type WasmKey, WasmVerifier } from "./wasm/verifier.ts";

/** A backend by name, to override the choice: WebAssembly, `node:crypto`, WebCrypto. */
export type Backend = "wasm" | "native" | "webcrypto";

/** Who checks ECDSA on a curve: with a table of the key, and before there is one. */
export interface BackendRow {
  readonly curve: Curve;
  readonly withTable: Backend;
  readonly firstUse: Backend;
  /** The measurement behind it: µs per signature over 480 bytes, minima on one x86-64 machine. */
  readonly why: string;
}

/** Who checks RSA of 2,048 to 4,096 bits; larger moduli are native everywhere. */
export interface RsaRow {
  readonly backend: Backend;
  /** As of {@link BackendRow}, for RS256 and 2,048 bits. */
  readonly why: string;
}

/** The rows of one runtime. Ed25519 is native everywhere: there is no faster form of it here. */
export interface BackendTable {
  readonly runtime: "bun" | "deno" | "node" | "other";
  /** The versions that were measured; other ones use the same rows. */
  readonly versions: string;
  readonly rows: readonly BackendRow[];
  readonly rsa: RsaRow;
}

function row(curve: Curve, firstUse: Backend, why: string): BackendRow {
  return { curve, withTable: "wasm", firstUse, why };
}

export const BACKEND_TABLES: readonly BackendTable[] = [
  {
    runtime: "node",
    versions: "20 to 26",
    rows: [
      row("P-256", "native", "25 with a table, 124 without, node:crypto 64"),
      row("P-384", "wasm", "82 with a table, 300 without, node:crypto 612"),
      row("P-521", "wasm", "199 with a table, 747 without, node:crypto 1402"),
    ],
    rsa: { backend: "native", why: "71 by WebAssembly, node:crypto 20" },
  },
  {
    runtime: "bun",
    versions: "1.4",
    rows: [
      row("P-256", "native", "22 with a table, 125 without, node:crypto 52"),
      row("P-384", "wasm", "88 with a table, 331 without, node:crypto 501"),
      row("P-521", "wasm", "203 with a table, 775 without, node:crypto 1170"),
    ],
    rsa: { backend: "native", why: "63 by WebAssembly, node:crypto 15" },
  },
  {
    runtime: "deno",
    versions: "2.9",
    rows: [
      row("P-256", "wasm", "25 with a table, 130 without, node:crypto 560"),
      row("P-384", "wasm", "91 with a table, 334 without, node:crypto 1395"),
      row("P-521", "wasm", "223 with a table, 852 without, node:crypto 1618"),
    ],
    rsa: { backend: "wasm", why: "82 by WebAssembly, node:crypto 188" },
  },
  {
    runtime: "other",
    versions: "workerd 1.20261023 and browsers",
    rows: [
      row("P-256", "native", "workerd: 38 with a table, 135 without, node:crypto 59"),
      row("P-384", "wasm", "workerd: 90 with a table, 332 without, node:crypto 524"),
      row("P-521", "wasm", "workerd: 229 with a table, 904 without, node:crypto 1217"),
    ],
    rsa: { backend: "native", why: "workerd: 86 by WebAssembly, node:crypto 18" },
  },
];

function runtimeName(): BackendTable["runtime"] {
  const versions = globalThis.process?.versions as Readonly<Record<string, string | undefined>> | undefined;
  if (versions?.bun !== undefined) return "bun";
  if (versions?.deno !== undefined) return "deno";
  if (globalThis.navigator?.userAgent === "Cloudflare-Workers" || versions?.node === undefined) return "other";
  return "node";
}

let wasm: WasmVerifier | undefined;
let wasmRefused = false;
let auto: SignatureVerifier | undefined;
let always: SignatureVerifier | undefined;

/** The process's own WebAssembly verifier, or `undefined` where the host does not compile WebAssembly. */
export function wasmVerifier(): WasmVerifier | undefined {
  if (wasm !== undefined || wasmRefused) return wasm;
  try {
    wasm = new WasmVerifier();
  } catch {
    wasmRefused = true;
  }
  return wasm;
}

/**
 * Gives verifications a module that the host compiled, where they may not compile one: in Workers.
 *
 * @param module a `WebAssembly.Module` of the package's `ecdsa.wasm`
 * @throws SpiffeError `ERR_SPIFFE_BACKEND` for anything else
 */
export function useWasmModule(module: object): void {
  if (module === undefined) throw lacking("a compiled WebAssembly.Module of ecdsa.wasm");
  wasm = new WasmVerifier({ module });
  setHostModule(module);
  auto = undefined;
  always = undefined;
}

/** Pins the authorities of an owner's bundles, so that their signatures are checked by tables; see S-13. */
export function preloadAuthorities(owner: object, keys: Iterable<PublicKey>): void {
  wasmVerifier()?.preload(owner, keys);
}

/** A key for the chosen pair of backends; the second one's form is made when it is first needed. */
interface PairKey {
  readonly key: PublicKey;
  readonly wasm: WasmKey;
  /** Who checks while there is no table; what WebAssembly does not take is never its. */
  readonly firstUse: Backend;
  other: unknown;
}

/**
 * WebAssembly for what the table says, another backend for the rest.
 *
 * Its methods are its own and need no `this`, so that a verifier spread out of it works; a handle is an empty object, so
 * that one of another backend, or one made by hand, names no key here.
 */
function pairOf(
  wasm: WasmVerifier,
  other: SignatureVerifier,
  { rows, rsa }: Pick<BackendTable, "rows" | "rsa">,
): SignatureVerifier<object> {
  const keys = new WeakMap<object, PairKey>();
  // one handle per elliptic-curve key, whatever object it came in
  const handles = new WeakMap<WasmKey, object>();
  /** Whether WebAssembly checks with a key now. */
  const isOwn = ({ wasm: key, firstUse }: PairKey) => firstUse === "wasm" || wasm.hasTable(key);
  const pair: SignatureVerifier<object> = {
    name: `wasm+${other.name}`,
    sync: other.sync,
    importKey(key) {
      const own = wasm.importKey(key);
      let handle = handles.get(own);
      if (handle === undefined) {
        const row = key.kind === "rsa" ? rsa.backend : rows.find(({ curve }) => curve === key.curve)?.firstUse;
        const firstUse = row !== undefined && wasm.takes(own) ? row : "native";
        handle = Object.freeze({});
        keys.set(handle, { key, wasm: own, firstUse, other: undefined });
        handles.set(own, handle);
      }
      return handle;
    },
    noteTrusted(handle) {
      const prepared = keys.get(handle);
      if (prepared !== undefined) wasm.noteTrusted(prepared.wasm);
    },
    verify(alg, handle, signature, data) {
      const prepared = keys.get(handle);
      if (prepared === undefined) return false;
      if (isOwn(prepared)) return wasm.verify(alg, prepared.wasm, signature, data);
      prepared.other ??= other.importKey(prepared.key);
      return other.verify(alg, prepared.other, signature, data);
    },
  };
  const ownKey = (handle: object) => {
    const prepared = keys.get(handle);
    return prepared !== undefined && isOwn(prepared) ? prepared.wasm : undefined;
  };
  if (!other.sync) return Object.freeze(pair);
  return Object.freeze({ ...pair, verifyBatch: batchOf(wasm, pair, ownKey), batchIfFaster: fasterOf(wasm, ownKey) });
}

/** Batches of a pair whose other backend is synchronous: WebAssembly's own together, the rest one by one. */
function batchOf(
  wasm: WasmVerifier,
  pair: SignatureVerifier<object>,
  ownKey: (handle: object) => WasmKey | undefined,
): (checks: readonly PreparedCheck<object>[]) => boolean[] {
  return (checks) => {
    const verdicts: boolean[] = [];
    const own: PreparedCheck<WasmKey>[] = [];
    const places: number[] = [];
    for (const { alg, key: handle, signature, data } of checks) {
      const key = ownKey(handle);
      if (key !== undefined) {
        own.push({ alg, key, signature, data });
        places.push(verdicts.length);
      }
      verdicts.push(key === undefined && pair.verify(alg, handle, signature, data) === true);
    }
    for (const [at, valid] of wasm.verifyBatch(own).entries()) verdicts[places[at]!] = valid;
    return verdicts;
  };
}

/** Those batches that are all WebAssembly's and faster by it. */
function fasterOf(
  wasm: WasmVerifier,
  ownKey: (handle: object) => WasmKey | undefined,
): (checks: readonly PreparedCheck<object>[]) => boolean[] | undefined {
  return (checks) => {
    const own: PreparedCheck<WasmKey>[] = [];
    for (const { alg, key: handle, signature, data } of checks) {
      const key = ownKey(handle);
      if (key === undefined) return undefined;
      own.push({ alg, key, signature, data });
    }
    return wasm.batchIfFaster(own);
  };
}

function automatic(): SignatureVerifier {
  if (auto !== undefined) return auto;
  const other = nodeVerifier() ?? webcryptoVerifier;
  const faster = wasmVerifier();
  const table = BACKEND_TABLES.find(({ runtime }) => runtime === runtimeName())!;
  auto = faster === undefined ? other : (pairOf(faster, other, table) as SignatureVerifier);
  return auto;
}

/** WebAssembly for all ECDSA, with a table or not, and for RSA; what it does not have is native. */
function alwaysWasm(): SignatureVerifier {
  if (always !== undefined) return always;
  const only = wasmVerifier();
  if (only === undefined) throw lacking("WebAssembly that may be compiled");
  const rows = (["P-256", "P-384", "P-521"] as const).map((curve) => row(curve, "wasm", "asked for"));
  const rsa = { backend: "wasm", why: "asked for" } as const;
  always = pairOf(only, nodeVerifier() ?? webcryptoVerifier, { rows, rsa }) as SignatureVerifier;
  return always;
}

function lacking(what: string, hint?: string): SpiffeError {
  const options = hint === undefined ? {} : { hint };
  return new SpiffeError("ERR_SPIFFE_BACKEND", `Expected a runtime with ${what}`, options);
}

/**
 * The backend that verifications use unless told otherwise: per algorithm the fastest one that this runtime has.
 *
 * @param backend overrides the choice
 * @throws SpiffeError `ERR_SPIFFE_BACKEND` where the runtime lacks the wanted backend
 * @example
 * ```ts
 * import { chooseVerifier } from "spiffe-edge/crypto";
 * console.assert(chooseVerifier("webcrypto").name === "webcrypto");
 * console.assert(chooseVerifier().name === "wasm+node:crypto");
 * ```
 */
export function chooseVerifier(backend?: Backend): SignatureVerifier {
  switch (backend) {
    case undefined:
      return automatic();
    case "wasm":
      return alwaysWasm();
    case "webcrypto":
      return webcryptoVerifier;
    case "native": {
      const native = nodeVerifier();
      if (native === undefined) throw lacking("node:crypto");
      return native;
    }
    default:
      throw new SpiffeError("ERR_SPIFFE_USAGE", "Expected the backend wasm, native or webcrypto");
  }
}

/**
 * The backend of synchronous verifications. Where the runtime has no `node:crypto`, WebAssembly alone, to which Ed25519 and RSA
 * above 4,096 bits do not verify.
 *
 * @param backend overrides the choice
 * @throws SpiffeError `ERR_SPIFFE_BACKEND` where the runtime has neither, or not the one that is asked for
 */
export function chooseSyncVerifier(backend?: Backend): SyncSignatureVerifier {
  const verifier = chooseVerifier(backend);
  if (verifier.sync) return verifier as SyncSignatureVerifier;
  const alone = backend === "webcrypto" ? undefined : wasmVerifier();
  if (alone !== undefined) return alone as SyncSignatureVerifier;
  throw lacking(
    "node:crypto or WebAssembly, which synchronous checks need",
    "Use the asynchronous form, which works with WebCrypto.",
  );
}

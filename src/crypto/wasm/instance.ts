/** An instance of the compiled verifier: which module it is of, and what that has to export. */
import { decodeBase64 } from "../../encoding/base64.ts";
import { MODULE_BASE64 } from "./module.ts";

/** What `wasm/index.ts` exports; addresses are offsets in its memory. */
export interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  readonly inputSize: { readonly value: number };
  heapBase(): number;
  inputArea(): number;
  signatureArea(): number;
  digestArea(): number;
  keySize(curve: number): number;
  keyTableSize(curve: number): number;
  generatorTableSize(curve: number): number;
  buildGeneratorTable(curve: number, table: number): number;
  readKeyOf(curve: number, key: number): number;
  buildKeyTable(curve: number, table: number, key: number): number;
  hashStart(bits: number): void;
  hashUpdate(length: number): void;
  hashFinish(): number;
  verifyDigest(curve: number, length: number, key: number, table: number, generatorTable: number): number;
  batchStart(curve: number): number;
  batchAdd(length: number, table: number): number;
  batchFinish(generatorTable: number): number;
  rsaArea(): number;
  rsaLift(octets: number): number;
  verifyRsa(octets: number, exponent: number, bits: number, pss: number): number;
}

interface WebAssemblyApi {
  readonly Module: new (octets: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
}

/** What the places in its memory are multiples of, in octets. */
export const ALIGNMENT = 64;

/** The module where the host compiles modules itself, as Workers do. */
let hostModule: object | undefined;

/** Sets the module that engines use unless they are given one. */
export function setHostModule(module: object): void {
  hostModule = module;
}

const FUNCTIONS: readonly (keyof Exports)[] = [
  "heapBase",
  "inputArea",
  "signatureArea",
  "digestArea",
  "keySize",
  "keyTableSize",
  "generatorTableSize",
  "buildGeneratorTable",
  "readKeyOf",
  "buildKeyTable",
  "hashStart",
  "hashUpdate",
  "hashFinish",
  "verifyDigest",
  "batchStart",
  "batchAdd",
  "batchFinish",
  "rsaArea",
  "rsaLift",
  "verifyRsa",
];

/** An instance of a module, which has to have what the package's own has. */
export function instantiate(module: object): Exports {
  const api = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;
  const exports = new api.Instance(module, {}).exports as Exports;
  const foreign = FUNCTIONS.some((name) => typeof exports[name] !== "function");
  if (foreign || exports.memory === undefined || !(exports.inputSize?.value >= ALIGNMENT)) {
    throw new Error("the module is not the package's ecdsa.wasm");
  }
  return exports;
}

/** The host's module, or the one that the package brings; throws where the host allows no code generation. */
export function compile(): object {
  if (hostModule !== undefined) return hostModule;
  const api = (globalThis as { WebAssembly?: WebAssemblyApi }).WebAssembly;
  if (api === undefined) throw new Error("there is no WebAssembly");
  return new api.Module(moduleOctets());
}

/** The module's octets: by the language where it decodes, as a decoder of our own takes 1 to 5 ms on its first run. */
function moduleOctets(): Uint8Array {
  const { fromBase64 } = Uint8Array as { fromBase64?: (text: string) => Uint8Array };
  if (fromBase64 !== undefined) return fromBase64.call(Uint8Array, MODULE_BASE64);
  const octets = decodeBase64(MODULE_BASE64);
  if (!octets.ok) throw new Error(octets.message);
  return octets.value;
}

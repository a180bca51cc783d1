/** What the package exports that takes arguments, and what of it takes no options. */
import { readFileSync } from "node:fs";

/**
 * What takes arguments, and no options among them; `new` stands for the constructor. What is new is named here, or has a row
 * above. `SpiffeError` does take options: an error that is thrown while another is made would hide it.
 */
const WITHOUT_OPTIONS: Readonly<Record<string, string>> = {
  "": `admitReload asPeer authorizeId authorizeIdPrefix authorizeMemberOf authorizeOneOf chooseSyncVerifier chooseVerifier
    connectionPeer decide endpointFromEnvironment evaluate explain formatEndpoint generateKeys headerName isSpiffeError
    jwksFor matchId matchIdPrefix matchMemberOf matchOneOf parseEndpoint peerOf preloadAuthorities privateKeyMatches
    privateKeyMatchesSync runChecks runChecksSync runChecksTogether spiffeIdOf testJwtBundle testJwtKey trace unsafeAnyPeer
    useWasmModule verifyBatch x509SignatureAlgorithm`,
  Authority: "new federate setEntries socketFor unfederate",
  BundleMap: "new bundleFor equals jwtBundleFor of parse safeParse x509BundleFor",
  BundleSet: "new jwtBundleFor of x509BundleFor",
  BundleSource: "new jwtBundleFor of ready updates x509BundleFor",
  Certificate: "new equals parse safeParse validityAt",
  ExchangedToken: "new",
  FakeWorkloadApi: "new calls delay end federate flood goAway openStreams reset rotateEvery spoil unfederate",
  FileSource: "new ready updates x509BundleFor",
  JwtBundle: "new candidates equals fromJwks fromKeys hasKeyId jwtBundleFor safeFromJwks",
  JwtSource: "jwtBundleFor",
  JwtSvid: "new",
  ManualClock: "new advance sleep step",
  Policy: "new audits decide",
  PublicKey: "new equals fits fromJwk fromSpki",
  Shadow: "new compare",
  SpiffeBundle: "new equals jwtBundleFor parse safeParse x509BundleFor",
  SpiffeError: "new",
  SpiffeId: "new equals fromPath fromSegments memberOf parse parseConfig safeParse safeParseConfig",
  TestCa: "new",
  TrustDomain: "new equals parse parseConfig safeParse safeParseConfig",
  WasmVerifier: "batchIfFaster hasTable importKey isPinned noteTrusted preload takes verify verifyBatch",
  Workload: "new",
  X509Bundle: "new authoritiesNamed equals fromDer fromPem has load safeFromDer safeFromPem save",
  X509Source: "onState unfit x509BundleFor",
  X509Svid: "new save",
};

export const FUNCTIONS_WITHOUT_OPTIONS: readonly string[] = Object.entries(WITHOUT_OPTIONS).flatMap(([owner, names]) =>
  names.split(/\s+/).map((name) => (owner === "" ? name : name === "new" ? owner : `${owner}.${name}`)),
);

/** Names of what is public and takes arguments: functions, methods of classes, and every constructor. */
export async function publicFunctions(): Promise<string[]> {
  const { exports } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const found = new Set<string>();
  for (const path of Object.keys(exports)) {
    if (path.endsWith(".json")) continue;
    const module = (await import(`spiffe-edge${path.slice(1)}`)) as Record<string, unknown>;
    for (const [name, value] of Object.entries(module)) {
      if (typeof value !== "function") continue;
      if (!/^class\b/.test(String(value))) {
        if (takesArguments(value)) found.add(name);
        continue;
      }
      found.add(name);
      for (const owner of [value, value.prototype]) {
        for (const [key, { value: method }] of Object.entries(Object.getOwnPropertyDescriptors(owner))) {
          if (key !== "constructor" && typeof method === "function" && takesArguments(method))
            found.add(`${name}.${key}`);
        }
      }
    }
  }
  return [...found];
}

/** By its text: `length` leaves out what has a default. */
function takesArguments(value: object): boolean {
  return /^[^(]*\(\s*[^\s)]/.test(Function.prototype.toString.call(value));
}

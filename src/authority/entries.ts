/** Registration entries: which identity a socket stands for. */
import { type OptionNames, onlyKnown } from "../base/check-options.ts";
import { LIMITS, SpiffeError } from "../base/index.ts";
import { SpiffeId, TrustDomain } from "../id/index.ts";

/** One registered workload. Entries that name the same socket are several identities of one workload. */
export interface AuthorityEntry {
  /** SPIFFE ID with a path, in the authority's trust domain. */
  readonly id: string;
  /** File name of the workload's socket, without `.sock`. */
  readonly socket: string;
  /** Tells the identities of one socket apart; unique among them, at most 1,024 bytes. */
  readonly hint?: string;
  /** Life of its X.509-SVIDs in ms, at least 1,000. */
  readonly ttlMs?: number;
  /** Life of its JWT-SVIDs in ms, at least 1,000. */
  readonly jwtTtlMs?: number;
  /** Names of foreign trust domains whose bundles it gets, once the authority federates with them. */
  readonly federatesWith?: readonly string[];
}

const KNOWN: OptionNames<AuthorityEntry> = {
  id: true,
  socket: true,
  hint: true,
  ttlMs: true,
  jwtTtlMs: true,
  federatesWith: true,
};

/** A checked entry. */
export interface Registration {
  readonly key: string;
  readonly id: SpiffeId;
  readonly socket: string;
  readonly hint: string;
  readonly ttlMs: number;
  readonly jwtTtlMs: number;
  readonly federatesWith: readonly TrustDomain[];
}

const SOCKET_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

/**
 * Checks entries as a whole.
 *
 * @throws `ERR_SPIFFE_CONFIG` with the place of the first wrong field, `ERR_SPIFFE_USAGE` for one that no entry has
 */
export function checkEntries(
  entries: readonly AuthorityEntry[],
  trustDomain: TrustDomain,
  defaults: { ttlMs: number; jwtTtlMs: number },
): Registration[] {
  const registrations: Registration[] = [];
  entries.forEach((entry, index) => {
    onlyKnown(`entries[${index}]`, entry, KNOWN);
    const at = (field: string) => `entries[${index}].${field}`;
    const id = SpiffeId.safeParseConfig(entry.id);
    if (!id.ok) throw wrong(at("id"), id.message);
    if (!id.value.memberOf(trustDomain)) throw wrong(at("id"), `${id.value} is not in ${trustDomain.name}`);
    if (id.value.path === "") throw wrong(at("id"), "a workload's SPIFFE ID has a path");
    if (!SOCKET_NAME.test(entry.socket)) {
      throw wrong(at("socket"), "expected letters, digits, '.', '_' and '-', not beginning with '.'");
    }
    const hint = entry.hint ?? "";
    if (new TextEncoder().encode(hint).length > LIMITS.hint)
      throw wrong(at("hint"), `longer than ${LIMITS.hint} bytes`);
    const federatesWith = (entry.federatesWith ?? []).map((name) => {
      const parsed = TrustDomain.safeParse(name);
      if (!parsed.ok) throw wrong(at("federatesWith"), parsed.message);
      if (parsed.value.equals(trustDomain)) throw wrong(at("federatesWith"), "names the entry's own trust domain");
      return parsed.value;
    });
    const same = registrations.filter((other) => other.socket === entry.socket);
    if (same.some((other) => other.id.equals(id.value))) throw wrong(at("id"), "the socket has this identity already");
    if (hint !== "" && same.some((other) => other.hint === hint)) {
      throw wrong(at("hint"), `"${hint}" is used by another identity of the socket`);
    }
    if (same.length >= LIMITS.svids) throw wrong(at("socket"), `more than ${LIMITS.svids} identities`);
    registrations.push({
      key: `${entry.socket} ${id.value.uri}`,
      id: id.value,
      socket: entry.socket,
      hint,
      ttlMs: checkLife(at("ttlMs"), entry.ttlMs ?? defaults.ttlMs),
      jwtTtlMs: checkLife(at("jwtTtlMs"), entry.jwtTtlMs ?? defaults.jwtTtlMs),
      federatesWith,
    });
  });
  return registrations;
}

/** A life in ms: certificates and tokens count in whole seconds, so less than one makes no sense. */
export function checkLife(field: string, ms: number): number {
  if (!Number.isFinite(ms) || ms < 1_000) throw wrong(field, `expected at least 1000 ms, got ${ms}`);
  return ms;
}

function wrong(field: string, message: string): SpiffeError {
  return new SpiffeError("ERR_SPIFFE_CONFIG", `${field}: ${message}`, { phase: "authority" });
}

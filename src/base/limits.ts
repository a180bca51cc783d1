/** Bounds on everything that comes from outside. Sizes in bytes unless the name says otherwise. */
export const LIMITS = {
  spiffeId: 2_048,
  trustDomain: 255,
  token: 16_384,
  joseHeader: 4_096,
  jsonDepth: 32,
  /** Values in one JSON document. */
  jsonValues: 262_144,
  derDepth: 16,
  certificate: 65_536,
  /** Certificates in a presented chain. */
  chainLength: 10,
  /** Bytes of a whole presented chain (S-7). */
  chainBytes: 65_536,
  /** Steps of path building per search. */
  pathSteps: 1_000,
  /** Signature checks per path search (S-16). */
  pathSignatures: 32,
  /** Names × constraints per path (S-16). */
  nameConstraintWork: 65_536,
  bundle: 4_194_304,
  bundleKeys: 10_000,
  /** Keys tried for a token without `kid` (S-15). */
  keyTrials: 8,
  /** SVIDs in one Workload API response. */
  svids: 100,
  grpcMessage: 4_194_304,
  hint: 1_024,
  /** Characters of one configuration file. */
  configText: 1_048_576,
  /** Lines, brackets, commas and other signs that part the values of one configuration file. */
  configSigns: 65_536,
  /** Blocks and lists within each other. */
  configDepth: 32,
  /** Keys of one block. */
  configKeys: 1_000,
} as const;

/** What the files of cases have to hold, by file name. The list of IDs needs no keys and is written by hand. */
import type { BundleCase, JwtCase, X509Case } from "../spiffe-cases.ts";
import type { Recipe } from "./add.ts";
import { DOCUMENTS } from "./bundle-document.ts";
import { ELEMENTS } from "./bundle-element.ts";
import { ALGORITHM_CASES } from "./jwt-algorithm.ts";
import { CLAIMS } from "./jwt-claims.ts";
import { FORMS } from "./jwt-form.ts";
import { AUTHORITIES } from "./x509-authority.ts";
import { CHAINS } from "./x509-chain.ts";
import { CONSTRAINTS } from "./x509-constraints.ts";
import { ENCODINGS } from "./x509-encoding.ts";
import { KEYS } from "./x509-key.ts";
import { LEAVES } from "./x509-leaf.ts";

export interface Recipes {
  readonly "x509.json": readonly Recipe<X509Case>[];
  readonly "jwt.json": readonly Recipe<JwtCase>[];
  readonly "bundle.json": readonly Recipe<BundleCase>[];
}

export const RECIPES: Recipes = {
  "x509.json": [...LEAVES, ...ENCODINGS, ...KEYS, ...CHAINS, ...AUTHORITIES, ...CONSTRAINTS],
  "jwt.json": [...ALGORITHM_CASES, ...FORMS, ...CLAIMS],
  "bundle.json": [...DOCUMENTS, ...ELEMENTS],
};

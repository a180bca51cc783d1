/** Puts the definitions of the policy's schema into that of the gateway. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { bin, root } from "./lib/run.ts";
import { withPolicy } from "./lib/schema.ts";

const gateway = `${root}/src/gateway/gateway.schema.json`;
const read = (file: string) => JSON.parse(readFileSync(file, "utf8"));
const whole = withPolicy(read(gateway), read(`${root}/src/policy/policy.schema.json`));
writeFileSync(gateway, `${JSON.stringify(whole, undefined, 2)}\n`);
execFileSync(bin("biome"), ["format", "--write", gateway], { cwd: root, stdio: "inherit" });

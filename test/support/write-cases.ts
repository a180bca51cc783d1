/** Writes the cases of `cases.ts` into the file that is named on the command line. */
import { writeFile } from "node:fs/promises";
import { judgedCases } from "./cases.ts";

await writeFile(process.argv[2] ?? "cases.json", JSON.stringify(await judgedCases()));

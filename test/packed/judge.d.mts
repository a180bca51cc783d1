import type { JudgedCase } from "../support/cases.ts";

export type Judgement = JudgedCase["expected"];

export declare function judge(testCase: JudgedCase): Promise<Judgement>;

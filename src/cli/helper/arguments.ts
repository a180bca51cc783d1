/** Command arguments that are written as one text. */

/**
 * Splits at spaces. What stands in double quotes stays together; two of them inside stand for one. Nothing else has a
 * meaning: neither single quotes nor backslashes nor variables.
 *
 * @returns undefined when a quote has no end, or something follows it without a space
 */
export function splitArguments(text: string): string[] | undefined {
  const args: string[] = [];
  const pattern = / *(?:"((?:[^"]|"")*)"|([^" ][^ ]*))(?= |$)/y;
  const end = text.trimEnd().length;
  while (pattern.lastIndex < end) {
    const found = pattern.exec(text);
    if (found === null) return undefined;
    args.push(found[1]?.replaceAll('""', '"') ?? found[2]!);
  }
  return args;
}

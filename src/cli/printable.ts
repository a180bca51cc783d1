/** Text of others on a terminal. */

/** Escapes what a terminal would act on, or what would show text in another order: controls and format characters. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
    return `\\u{${character.codePointAt(0)!.toString(16)}}`;
  });
}

/** JSON in which no character is one that {@link printable} escapes; big integers are written as text. */
export function printableJson(value: unknown, indent?: number): string {
  const plain = (_name: string, member: unknown) => (typeof member === "bigint" ? member.toString() : member);
  const text = JSON.stringify(value, plain, indent) ?? "null";
  return text.replace(/[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) =>
    [...Array(character.length).keys()]
      .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

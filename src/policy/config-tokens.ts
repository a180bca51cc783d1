/**
 * YAML text to the tokens that documents are built of, within bounds: what would cost more time or stack than any
 * configuration is worth is refused where it goes beyond, before anything is built of it.
 */
import { CST, Lexer, Parser } from "yaml";
import { LIMITS } from "../base/index.ts";

/** Why a text is refused, and where. */
export interface TextFault {
  readonly offset: number;
  readonly what: string;
}

/** Characters that cost more than others: they part values, begin tags and escapes, or mark an order of bytes; some only before a blank. */
const SIGNS = new Set([..."\n,[]{}!\\\ufeff"].map((sign) => sign.charCodeAt(0)));
const BLANKS: ReadonlySet<string> = new Set(["space", "comment", "newline"]);

const MARKS = new Set([..."-:?"].map((mark) => mark.charCodeAt(0)));
const isBlank = (code: number) => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

/** One look at each character, as even taking a text apart costs many times that. */
function tooManySigns(text: string): TextFault | undefined {
  let signs = 0;
  for (let offset = 0; offset < text.length; offset++) {
    const code = text.charCodeAt(offset);
    const counts = SIGNS.has(code) || (MARKS.has(code) && isBlank(text.charCodeAt(offset + 1)));
    if (counts && ++signs > LIMITS.configSigns) {
      return { offset, what: `more than ${LIMITS.configSigns} values, lines and brackets in one file` };
    }
  }
  return undefined;
}

/** What the parser has in hand goes beyond a bound, or ends in something that belongs to no value. */
function faultOf({ stack, offset }: Parser): TextFault | undefined {
  const top = stack.at(-1);
  if (top?.type === "block-map" || top?.type === "block-seq" || top?.type === "flow-collection") {
    // the document stands below the collections
    if (stack.length - 1 > LIMITS.configDepth) return { offset, what: "is nested too deeply to be read" };
    const isKeyed = top.type === "block-map" || (top.type === "flow-collection" && top.start.source === "{");
    if (isKeyed && top.items.length > LIMITS.configKeys)
      return { offset, what: `has a block of more than ${LIMITS.configKeys} keys` };
  }
  const end = top !== undefined && "end" in top ? top.end : undefined;
  const last = end?.at(-1);
  if (end === undefined || last === undefined || BLANKS.has(last.type)) return undefined;
  const closes = end.length === 1 && top?.type === "flow-collection";
  return closes ? undefined : { offset: last.offset, what: `Unexpected ${last.type} at node end` };
}

/**
 * Takes a text apart. The parser's own lexer and the first of its two steps do it, which keep a stack of their own, so
 * that nothing is deep to one of them and flat to the other. The first fault ends it: a text may hold very many.
 *
 * @param onNewLine takes the offset of each line
 */
export function readTokens(text: string, onNewLine: (offset: number) => void): readonly CST.Token[] | TextFault {
  const excess = tooManySigns(text);
  if (excess !== undefined) return excess;
  const parser = new Parser(onNewLine);
  onNewLine(0);
  const tokens: CST.Token[] = [];
  let documents = 0;
  const take = (found: Iterable<CST.Token>): TextFault | undefined => {
    for (const token of found) {
      if (token.type === "error")
        return { offset: token.offset, what: `${token.message}: ${JSON.stringify(token.source.slice(0, 64))}` };
      if (token.type === "document" && ++documents > 1)
        return { offset: token.offset, what: "a second document begins; a file holds one configuration" };
      tokens.push(token);
    }
    return undefined;
  };
  let isText = false;
  for (const lexeme of new Lexer().lex(text)) {
    const { offset } = parser;
    if (!isText && lexeme[0] === "&")
      return { offset, what: `"${lexeme.slice(0, 64)}" is an anchor; write the value out` };
    if (!isText && lexeme[0] === "*")
      return { offset, what: `"${lexeme.slice(0, 64)}" is an alias; write the value out` };
    isText = !isText && lexeme === CST.SCALAR;
    const fault = take(parser.next(lexeme)) ?? faultOf(parser);
    if (fault !== undefined) return fault;
  }
  return take(parser.end()) ?? tokens;
}

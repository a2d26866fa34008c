// Parse JSON as AWS's sample templates write it: with unquoted keys, both kinds of quotes, and extra commas.

const TOKEN = /\s*(?:([{}[\]:,])|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([^\s{}[\]:,"']+))/suy;

function unquoted(text) {
  const body = text[0] === "'" ? `"${text.slice(1, -1).replaceAll("\\'", "'").replace(/(?<!\\)"/gu, '\\"')}"` : text;
  return JSON.parse(body);
}

export function parseLenient(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  const end = text.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new SyntaxError(`unexpected character after position ${at}`);
    tokens.push(match);
  }
  let next = 0;
  const mark = () => tokens[next]?.[1];

  function value() {
    const token = tokens[next++];
    if (!token) throw new SyntaxError("the text ends too early");
    if (token[2]) return unquoted(token[2]);
    if (token[3]) return JSON.parse(token[3]);
    if (token[1] === "[") return list();
    if (token[1] === "{") return object();
    throw new SyntaxError(`unexpected ${token[1]}`);
  }

  function list() {
    const items = [];
    for (;;) {
      while (mark() === ",") next++;
      if (mark() === "]") break;
      items.push(value());
    }
    next++;
    return items;
  }

  function object() {
    const members = [];
    for (;;) {
      while (mark() === ",") next++;
      if (mark() === "}") break;
      const key = tokens[next++];
      if (!key || key[1] || mark() !== ":") throw new SyntaxError("a key or its colon is missing");
      next++;
      members.push([key[2] ? unquoted(key[2]) : key[3], value()]);
    }
    next++;
    // Without assignments, so that a key named __proto__ is data.
    return Object.fromEntries(members);
  }

  const result = value();
  if (next < tokens.length) throw new SyntaxError("unexpected text after the value");
  return result;
}

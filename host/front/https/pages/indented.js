// Formats JSON as text.

const most = 5_000_000; // Characters. Longer texts are shown unchanged.

// indented returns JSON with line breaks and indentation. It does not parse numbers, because that
// could change them.
export function indented(text) {
  if (text.length > most) return text;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g) || [];
  let depth = 0;
  let out = '';
  const line = () => `\n${'  '.repeat(depth)}`;
  tokens.forEach((token, i) => {
    if (token === '{' || token === '[') {
      depth += 1;
      out += token;
      if (tokens[i + 1] !== '}' && tokens[i + 1] !== ']') out += line();
    } else if (token === '}' || token === ']') {
      depth -= 1;
      if (tokens[i - 1] !== '{' && tokens[i - 1] !== '[') out += line();
      out += token;
    } else if (token === ',') {
      out += `,${line()}`;
    } else {
      out += token === ':' ? ': ' : token;
    }
  });
  return out;
}

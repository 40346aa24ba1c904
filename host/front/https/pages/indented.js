// JSON as text.

const most = 5_000_000; // Characters; a longer text is shown as it came.

// indented returns JSON with line breaks, and otherwise as it was sent: a number is not read, which
// could change it.
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

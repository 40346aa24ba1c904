// Writes a call as code. Masked secrets stay masked.

const php = (text) => `'${text.replace(/[\\']/g, '\\$&')}'`;
const perl = php;
const shell = (text) => (/^[\w.,@%+=:/-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`);
const text = (value) => {
  if (value === null) return '';
  if (typeof value === 'boolean') return value ? '1' : '0';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
};
const named = (call) => (Array.isArray(call.args) ? null : Object.entries(call.args));
const method = (call) => ({ 'API 1': 'api1', 'API 2': 'api2', UAPI: 'uapi' })[call.api];

// languages writes a call in a language, or returns '' if it can't.
export const languages = {
  PHP: (call) => {
    if (!method(call)) return '';
    const args = (named(call) || call.args.map((value) => [null, value])).map(([name, value]) => (name === null ? php(text(value)) : `${php(name)} => ${php(text(value))}`));
    return `require_once '/usr/local/cpanel/php/cpanel.php';\n$cpanel = new CPANEL();\n`
      + `$answer = $cpanel->${method(call)}(${php(call.module)}, ${php(call.func)}, array(${args.join(', ')}));\n$cpanel->end();\n`;
  },
  Perl: (call) => {
    if (!method(call)) return '';
    const list = named(call);
    const args = list ? `{${list.map(([name, value]) => `${perl(name)} => ${perl(text(value))}`).join(', ')}}` : `[${call.args.map((value) => perl(text(value))).join(', ')}]`;
    return `use Cpanel::LiveAPI ();\nmy $cpanel = Cpanel::LiveAPI->new;\nmy $answer = $cpanel->${method(call)}(${perl(call.module)}, ${perl(call.func)}, ${args});\n$cpanel->end;\n`;
  },
  shell: (call, user) => {
    const list = named(call);
    const command = { 'API 2': 'cpapi2', UAPI: 'uapi' }[call.api];
    if (!list || !command) return '';
    return `${command} --user=${shell(user)} ${shell(call.module)} ${shell(call.func)} ${list.map(([name, value]) => shell(`${name}=${text(value)}`)).join(' ')}`.trim();
  },
};

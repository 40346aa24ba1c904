// The call as code in several languages, for copying.

// Secrets are replaced by placeholders in code and in the history. If a module does not describe a
// parameter, its name decides whether it is a secret.
const placeholder = (name) => name.toUpperCase();
const sounds = /pass|pwd|(^|[^a-z])(secrets?|tokens?|(api|access|private)?[_-]?keys?|hash|auth|authorization|credentials?|pin|cookie)($|[^a-z])/i;

export function isSecret(fn, name) {
  const described = fn.params.find((p) => p.name === name);
  return described ? described.type === 'secret' : sounds.test(name);
}

const php = (text) => `'${text.replace(/[\\']/g, '\\$&')}'`;
const perl = php;
const shell = (text) => (/^[A-Za-z0-9@%_+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`);
// The command lines decode their values as in URLs. @FILE is the text of a file, and - is standard input.
const command = (text) => text.replace(/%/g, '%25').replace(/\+/g, '%2B').replace(/^(\\?)@/, (all, slash) => `${slash && '%5C'}%40`).replace(/^-$/, '%2D');

const method = (fn) => (fn.api === 3 ? 'uapi' : 'api2');

// ran returns how a program is run: with a configuration of its own, by liveapi run, which also provides
// /usr/local/cpanel; otherwise directly, as on a cPanel server.
const ran = (who, program) => (who.config ? `LIVEAPID_CONFIG=${shell(who.config)} liveapi run -- ${program}` : `${program}, as the user ${who.user}`);

// grouped returns the arguments by name, in their order. A repeated name has a list of values.
function grouped(args) {
  const groups = new Map();
  for (const [name, value] of args) groups.set(name, [...(groups.get(name) || []), value]);
  return [...groups];
}

export const languages = {
  PHP(fn, args, who) {
    const lines = grouped(args).map(([name, values]) => `        ${php(name)} => ${values.length === 1 ? php(values[0]) : `array(${values.map(php).join(', ')})`},`);
    return [
      '<?php', `// Run it with: ${ran(who, 'php FILE')}`, "require_once '/usr/local/cpanel/php/cpanel.php';", '$cpanel = new CPANEL();', '',
      `$answer = $cpanel->${method(fn)}(`, `    ${php(fn.module)}, ${php(fn.name)},`, '    array(', ...lines, '    )', ');', 'print_r($answer);', '$cpanel->end();',
    ].join('\n');
  },
  Perl(fn, args, who) {
    const lines = grouped(args).map(([name, values]) => `        ${perl(name)} => ${values.length === 1 ? perl(values[0]) : `[${values.map(perl).join(', ')}]`},`);
    return [
      `# Run it with: ${ran(who, 'perl FILE')}`, 'use Cpanel::LiveAPI ();', 'use JSON::PP ();', 'my $cpanel = Cpanel::LiveAPI->new();', '',
      `my $answer = $cpanel->${method(fn)}(`, `    ${perl(fn.module)}, ${perl(fn.name)},`, '    {', ...lines, '    }', ');', 'print JSON::PP->new->pretty->canonical->encode($answer);', '$cpanel->end();',
    ].join('\n');
  },
  'Command line'(fn, args, who) {
    const tool = fn.api === 3 ? 'uapi' : 'cpapi2';
    const words = args.map(([name, value]) => shell(`${name}=${command(value)}`));
    const config = who.config ? `LIVEAPID_CONFIG=${shell(who.config)} ` : '';
    return [`${config}${tool} --user=${shell(who.user)}`, fn.module, fn.name, ...words].join(' ');
  },
  curl(fn, args, who) {
    const { path, fields } = target(fn, args, who);
    const lines = fields.map(([name, value]) => `  --data-urlencode ${shell(`${name}=${value}`)}`);
    const insecure = who.selfSigned ? ' --insecure' : ''; // The server signs its certificate itself.
    const address = shell(`${who.origin}/${path}`);
    if (who.service === 'webmail') {
      return ['# curl asks for the password of the mailbox.', [`curl${insecure} ${address}`, `  -u ${shell(who.user)}`, ...lines].join(' \\\n')].join('\n');
    }
    const kind = who.service === 'whm' && who.signedIn !== 'root' ? ' --whm' : '';
    const config = who.config ? `LIVEAPID_CONFIG=${shell(who.config)} ` : '';
    // The header is passed on standard input, so that the token is not in the list of processes.
    return [
      '# Put a token into TOKEN first. An administrator creates one with:', `#   ${config}liveapi token create --user ${shell(who.signedIn)}${kind} --name NAME`,
      [`printf 'Authorization: ${who.service} %s:%s\\n' ${shell(who.signedIn)} "$TOKEN" | curl${insecure} -H @- ${address}`, ...lines].join(' \\\n'),
    ].join('\n');
  },
  URL(fn, args, who) {
    const { path, fields } = target(fn, args, who);
    const query = fields.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&');
    return `${who.origin}/${who.cpsess}/${path}${query ? `?${query}` : ''}`;
  },
};

function target(fn, args, who) {
  if (fn.api === 3 && who.service !== 'whm') return { path: `execute/${fn.module}/${fn.name}`, fields: args };
  const fields = [['cpanel_jsonapi_apiversion', String(fn.api)], ['cpanel_jsonapi_module', fn.module], ['cpanel_jsonapi_func', fn.name], ...args];
  if (who.service === 'whm') fields.unshift(['cpanel_jsonapi_user', who.user]);
  return { path: 'json-api/cpanel', fields };
}

// masked returns arguments with their secrets replaced by their names in capitals.
export function masked(fn, args) {
  return args.map(([name, value]) => [name, isSecret(fn, name) ? placeholder(name) : value]);
}

#!/usr/bin/env bash
# Changes a real mailbox's password in every way that liveapid offers, in a new sandbox, and checks
# each time that only the new password works. It needs the built programs and Perl. PHP and HTTPS
# are skipped if php or curl is not installed.
set -euo pipefail
bin=${1:?usage: demo.sh BIN}
root=$(cd "$(dirname "$0")/.." && pwd)
world=$(mktemp -d "${TMPDIR:-/tmp}/liveapid-demo.XXXXXX")
host=
finish() {
  status=$?
  if [ -n "$host" ]; then
    kill "$host" 2>/dev/null || true
    wait "$host" 2>/dev/null || true
  fi
  rm -rf "$world"
  [ "$status" -eq 0 ] || echo "The demo failed." >&2
}
trap finish EXIT

export PATH=$bin:$PATH LIVEAPID_CONFIG=$world/liveapid.toml PERL5LIB=$root/bindings/perl/lib
unset CPANEL_CONNECT_SOCKET CPANEL_PHPCONNECT_SOCKET LIVEAPI_SOCKET
socket=$world/run/liveapi.sock
old='Old.passw0rd-1'

say() { printf '\n== %s\n' "$*"; }
verify() { printf '%s\n' "$1" | uapi --user=demo --output=json Email verify_password email=user@example.com password=-; }

# check NEW: the new password verifies, and the previous password does not.
check() {
  case $(verify "$1") in *'"data":1,'*) ;; *) echo "  the new password does not verify" >&2; exit 1 ;; esac
  case $(verify "$old") in *'"data":0,'*) ;; *) echo "  the old password still verifies" >&2; exit 1 ;; esac
  echo "   the new password verifies, the old one does not"
  old=$1
}

perl_change() {
  perl -MCpanel::LiveAPI -MJSON::PP -e '
    my $api = Cpanel::LiveAPI->new();
    my $answer = $api->api2("Email", "passwdpop", {domain => "example.com", email => "user", password => $ENV{NEW}});
    print JSON::PP->new->canonical->encode($answer), "\n";
    $api->end();'
}
php_change() {
  php -r '
    require $argv[1];
    $cpanel = new CPANEL();
    $answer = $cpanel->api2("Email", "passwdpop", ["domain" => "example.com", "email" => "user", "password" => getenv("NEW")]);
    echo json_encode($answer), "\n";
    $cpanel->end();' "$root/bindings/php/cpanel.php"
}

say "A sandbox: account demo, mailbox user@example.com"
liveapi sandbox "$world" >/dev/null
# Use a free port, because another sandbox may be running.
web=127.0.0.1:$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')
sed -i -e "s/\"127.0.0.1:12083\"/\"$web\"/" -e 's/"127.0.0.1:12087"/"off"/' -e 's/"127.0.0.1:12096"/"off"/' "$world/liveapid.toml"
liveapid serve 2>"$world/host.log" &
host=$!
until [ -S "$socket" ]; do
  kill -0 "$host" 2>/dev/null || { cat "$world/host.log" >&2; exit 1; }
  sleep 0.02
done
echo "   the host listens on $socket"

say "cpapi2 --user=demo Email passwdpop domain=example.com email=user password=12345luggage"
cpapi2 --user=demo --output=json Email passwdpop domain=example.com email=user password=12345luggage
check 12345luggage

say "uapi --user=demo Email passwd_pop email=user@example.com password=-   (from standard input)"
printf '%s\n' 'By.standard-input 2' | uapi --user=demo --output=json Email passwd_pop email=user@example.com password=-
check 'By.standard-input 2'

say "Perl, over the socket:  \$api->api2('Email', 'passwdpop', {...})"
NEW='Perl & söcket <3>' LIVEAPI_SOCKET=$socket perl_change
check 'Perl & söcket <3>'

say "Perl, over stdin and stdout of a liveapid that it starts"
NEW='Perl:by"pipes 4' perl_change
check 'Perl:by"pipes 4'

say "Perl, the program of cPanel's documentation:  use Cpanel::LiveAPI ();"
env -u PERL5LIB liveapi run --user demo -- perl "$root/testdata/documented/passwdpop.live.pl"
check 12345luggage

if command -v php >/dev/null 2>&1; then
  say "PHP, over the socket:  \$cpanel->api2('Email', 'passwdpop', array(...))"
  NEW='PHP by socket 5' LIVEAPI_SOCKET=$socket php_change
  check 'PHP by socket 5'

  say "PHP, over stdin and stdout of a liveapid that it starts"
  NEW='PHP by pipes 6' php_change
  check 'PHP by pipes 6'

  say "PHP, the program of cPanel's documentation:  require_once \"/usr/local/cpanel/php/cpanel.php\";"
  if liveapi run --user demo -- test -e /usr/local/cpanel/php/cpanel.php; then
    liveapi run --user demo -- php "$root/testdata/documented/passwdpop.live.php"
    check 12345luggage
  else
    echo "   skipped: this machine allows no mount namespaces; docs/pages.md says what to do then"
  fi
else
  say "PHP is not installed: skipping its two ways"
fi

if command -v curl >/dev/null 2>&1; then
  say "HTTPS, as WHM and cPanel API clients call it:  /execute/Email/passwd_pop"
  token=$(liveapi token create --user demo --name demo 2>/dev/null | tail -1)
  for _ in $(seq 100); do
    curl -sk -o /dev/null "https://$web/login" && break
    sleep 0.05
  done
  # Pass the header in a file, so that the token is not in the list of processes.
  printf 'Authorization: cpanel demo:%s\n' "$token" > "$world/header"
  printf '%s' 'By HTTPS & a token 7' | curl -sSk -H "@$world/header" --data-urlencode email=user@example.com --data-urlencode password@- \
    "https://$web/execute/Email/passwd_pop"
  check 'By HTTPS & a token 7'
else
  say "curl is not installed: skipping HTTPS"
fi

say "A rejected call"
cpapi2 --user=demo --output=json Email passwdpop domain=example.org email=user password=irrelevant

printf '\nEverything worked. The line in the store is now:\n   %s\n' "$(cut -c1-40 "$world/home/demo/etc/example.com/shadow")..."

use strict;
use warnings;
use Test::More;

use lib 't/lib';
use World ();
use Cpanel::LiveAPI ();

my $world = World->new or plan skip_all => 'LIVEAPI_BIN names no directory with liveapid';

sub changes {
    my ($api, $way) = @_;
    for my $password ('12345luggage', qq{"$way": <&> 'quotes' \\ %41+ }, "p\xc3\xa4\xc3\x9f", "p\x{e4}\x{1f600}") {
        my $answer = $api->api2('Email', 'passwdpop', {domain => 'example.com', email => 'user', password => $password});
        is_deeply($answer->{cpanelresult}{data}, [{reason => '', result => 1}], "$way: passwdpop");
        my $verified = $api->uapi('Email', 'verify_password', {email => 'user@example.com', password => $password});
        is($verified->{cpanelresult}{result}{data}, 1, "$way: the new password verifies");
        $verified = $api->api3('Email', 'verify_password', {email => 'user@example.com', password => "$password!"});
        is($verified->{cpanelresult}{result}{data}, 0, "$way: another one does not");
    }
    my $refused = $api->uapi('Email', 'passwd_pop', {email => 'user', domain => 'example.org', password => 'x'});
    is($refused->{cpanelresult}{result}{status}, 0, "$way: a refusal is an answer");
    is($refused->{cpanelresult}{result}{errors}[0], "You do not have access to the domain \xe2\x80\x9cexample.org\xe2\x80\x9d.", "$way: in bytes of UTF-8");
    is($api->cpanelif('$user == demo && !$haspostgres'), 1, "$way: cpanelif");
    is($api->cpanelif('$user == nobody'), 0, "$way: cpanelif");
    is($api->cpanelfeature('fileman'), 1, "$way: cpanelfeature");
    is($api->cpanelprint('$user at $domain'), 'demo at example.com', "$way: cpanelprint");
    is($api->cpanellangprint('Hello'), 'Hello', "$way: cpanellangprint");
    is($api->fetch('$user')->{cpanelresult}{data}{result}, 'demo', "$way: fetch");
    my $tag = $api->exec('<?cp Email::passwdpop(%, result) domain="$domain" email=user password=x ?>');
    is_deeply($tag->{cpanelresult}{data}, [{result => 1}], "$way: exec");
    is($api->exec('<cpanel print="$user">', 1), undef, "$way: exec without a return");
    is($api->api1('Email', 'nothing', ['a', 'b'])->{cpanelresult}{event}{result}, 0, "$way: api1");
    like($api->header('Mail & more', 'mail'), qr{<title>Mail &amp; more</title>.*<body class="mail">}s, "$way: header");
    like($api->footer, qr{</body>\s*</html>}, "$way: footer");
    $api->end;
    ok(!eval { $api->uapi('Email', 'verify_password'); 1 }, "$way: after end nothing can be called");
    like($@, qr/\AThe LivePHP Socket has closed, unable to continue\. at \S*03-host\.t line/, "$way: and it says so, at the caller's line");
    $api->end;
    return;
}

changes(Cpanel::LiveAPI->new, 'stdio');
{
    local $ENV{LIVEAPI_ENCODING} = 'json';
    changes(Cpanel::LiveAPI->new, 'stdio, JSON');
}
ok(Cpanel::LiveAPI::Packed::available(), 'MessagePack was tried: install Data::MessagePack');

{
    $world->serve;
    local $ENV{LIVEAPI_SOCKET} = $world->{socket};
    changes(Cpanel::LiveAPI->new, 'LIVEAPI_SOCKET');
    local $ENV{CPANEL_PHPCONNECT_SOCKET} = $world->{socket};
    local $ENV{LIVEAPI_SOCKET} = '/nowhere';
    changes(Cpanel::LiveAPI->new, 'CPANEL_PHPCONNECT_SOCKET');
    local $ENV{CPANEL_CONNECT_SOCKET} = $world->{socket};
    local $ENV{CPANEL_PHPCONNECT_SOCKET} = '/nowhere';
    my $api = Cpanel::LiveAPI->new;
    $world->stop;
    ok(!eval { $api->uapi('Email', 'verify_password'); 1 }, 'a host that went away');
    like($@, qr/closed/, 'is told');
    ok(!eval { Cpanel::LiveAPI->new; 1 }, 'a host that is not there');
    like($@, qr/could not connect to a LiveAPI host/, 'is told');
}
{
    local $ENV{LIVEAPID} = '/nowhere/liveapid';
    ok(!eval { Cpanel::LiveAPI->new; 1 }, 'a program that is not there');
    like($@, qr{/nowhere/liveapid}, 'is named');
}
{
    local $ENV{LIVEAPID_CONFIG} = '/nowhere/liveapid.toml';
    open my $keep, '>&', \*STDERR or die $!;
    open STDERR, '>', '/dev/null' or die $!;
    ok(!eval { Cpanel::LiveAPI->new; 1 }, 'a host that ends at once');
    open STDERR, '>&', $keep or die $!;
    like($@, qr/closed the session after 0 bytes/, 'is told');
}
{
    local $? = 42;
    my $api = Cpanel::LiveAPI->new;
    undef $api;
    is($?, 42, 'the status of the program is left alone');
}
for my $misuse (['api2', 'Email'], ['uapi', 'Email'], ['api1', 'Email'], ['api3'], ['exec'], ['fetch'], ['api', 'exec', 2, 'Email']) {
    my ($method, @args) = @$misuse;
    my $api = Cpanel::LiveAPI->new;
    ok(!eval { $api->$method(@args); 1 }, "$method misused");
    like($@, qr/\Ausage: .*03-host\.t line/, 'says how it is used, at the caller\'s line');
}

done_testing;

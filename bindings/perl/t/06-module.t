use strict;
use warnings;
use utf8;
use Test::More;

use File::Temp ();
use JSON::PP   ();
use LiveAPI::Module;
use LiveAPI::Module::Custom;

sub request {
    my ($func, $args, %more) = @_;
    my %account = (name => 'alice', home => '/home/alice', uid => 1001, domains => ['a.example', 'b.example']);
    return {call => {
        id => 'abc123', api => 3, module => 'M', func => $func, args => $args, role => 'account',
        account => {%account, %{$more{account} || {}}}, map { $_ => $more{$_} } grep { $_ ne 'account' } keys %more,
    }};
}

my $seen;
my $module = LiveAPI::Module->new(name => 'M', help => 'Tests.');
$module->configure(sub { $_[0]{bad} and die "setting bad: must not be given\n"; $seen = $_[0] });
$module->uapi('look', help => 'Looks.', returns => 'Much.', roles => ['account', 'mailbox'], changes => 1, open => 1,
    feature => 'f', params => [{name => 'p', required => 1, type => 'secret', help => 'P.'}],
    do => sub {
        my ($call) = @_;
        $call->message('mé');
        $call->warn('w');
        $call->metadata(k => [1]);
        return {
            user => $call->user, home => $call->home, domains => [$call->domains], role => $call->role, id => $call->id,
            p => scalar $call->get('p'), two => [$call->get('p', 'q')], has => [$call->has('p'), $call->has('q')],
            feature => [$call->has_feature('f'), $call->has_feature('g')], uid => $call->account->{uid},
            all => $call->args, number => 1 + 1, text => '2', float => 1.5, none => undef,
            yes => JSON::PP::true(), flag => \1, inf => 9**9**9, key => $call->metadata('k'),
        };
    });
$module->api2('list', do => sub { return [{a => 1}] });
$module->api1('show', do => sub { return 'shown' });
$module->uapi('fail', do => sub { $_[0]->fail('No “x”.', 'not_found') });
$module->uapi('refuse', do => sub { $_[0]->fail('no') });
$module->uapi('die', do => sub { die "secret\n" });
$module->uapi('code', do => sub { return sub { } });
$module->uapi('kind', do => sub { $_[0]->fail('no', 'wrong') });
$module->uapi('done2', do => sub { $_[0]->warn('w'); return $_[0]->done });
$module->api2('done2', do => sub { $_[0]->warn('w'); return $_[0]->done });
$module->uapi('deep', do => sub { my $d = 1; $d = [$d] for 1 .. 40; return $d });

my $described = $module->answer({describe => {settings => {a => 1}}})->{modules}[0];
is_deeply($seen, {a => 1}, 'settings');
is($described->{name}, 'M', 'the name');
is_deeply(
    [map { "$_->{api} $_->{name}" } @{$described->{functions}}],
    ['3 look', '2 list', '1 show', '3 fail', '3 refuse', '3 die', '3 code', '3 kind', '3 done2', '2 done2', '3 deep'], 'the functions',
);
is(JSON::PP->new->canonical->encode($described->{functions}[0]),
    '{"api":3,"changes":true,"feature":"f","help":"Looks.","name":"look","open":true,'
    . '"params":[{"help":"P.","name":"p","required":true,"type":"secret"}],"returns":"Much.","roles":["account","mailbox"],"source":"t/06-module.t line 26"}', 'one function');
is(JSON::PP->new->canonical->encode($described->{functions}[1]),
    '{"api":2,"changes":false,"feature":"","help":"","name":"list","open":false,"params":[],"returns":"","roles":["account"],"source":"t/06-module.t line 38"}', 'the least of one');
is_deeply($module->answer({describe => {settings => {bad => 1}}}), {error => {kind => 'invalid', message => "setting bad: must not be given\n"}}, 'refused settings');

my $bytes = "p\xe4\xc3\xa4";    # Not UTF-8.
utf8::downgrade($bytes);
my $answer = $module->answer(request('look', {p => $bytes}, account => {features => ['f']}));
is(JSON::PP->new->canonical->encode($answer),
    '{"data":{"all":{"p":{"$base64":"cOTDpA=="}},"domains":["a.example","b.example"],"feature":[1,0],"flag":1,"float":1.5,"has":[1,0],'
    . '"home":"/home/alice","id":"abc123","inf":"' . 9**9**9 . '","key":[1],"none":null,"number":2,"p":{"$base64":"cOTDpA=="},"role":"account",'
    . '"text":"2","two":[{"$base64":"cOTDpA=="},null],"uid":1001,"user":"alice","yes":true},"messages":["mé"],"metadata":{"k":[1]},"warnings":["w"]}', 'a call');
is_deeply($module->answer(request('look', {p => 'x'}))->{data}{feature}, [1, 1], 'an account without a list has all features');
is_deeply($module->answer(request('list', {}, api => 2))->{data}, [{a => 1}], 'API 2');
is($module->answer(request('show', {}, api => 1))->{data}, 'shown', 'API 1');
is_deeply($module->answer(request('fail', {})), {error => {kind => 'not_found', message => 'No “x”.'}}, 'fail');
is_deeply($module->answer(request('refuse', {})), {error => {kind => 'invalid', message => 'no'}}, 'fail, as a rule an invalid argument');
my %causes = (
    die  => 'secret',
    code => q{data of type CODE can't be sent: use text, numbers, undef, hashes and arrays},
    deep => 'the data is nested deeper than 32, or contains itself',
    none => 'the module has no function none',
    kind => 'fail: unknown kind wrong: the kinds are invalid not_found failed denied unavailable at t/06-module.t line 44.',
);
for my $func (sort keys %causes) {
    my $broken = $module->answer(request($func, {}));
    is_deeply($broken, {error => {kind => 'internal', message => '', cause => $causes{$func}}}, "$func: the cause is for the log");
}
eval { $module->serve };
like($@, qr{the host starts a module}, 'nobody else starts a module');
eval { $module->uapi('x') };
like($@, qr/usage: .* at t\/06-module.t line/, 'misuse is told where it is');

is($module->answer(request('done2', {}))->{data}, undef, 'a change without data');
is_deeply($module->answer(request('done2', {}, api => 2))->{data}, [{result => 1, reason => 'w'}], 'in API 2 it has a record of success');

# A word that is not known is refused where it was written.
for my $wrong (
    [{parms => []}, qr/the function x: unknown key parms: the keys are do help returns example params/],
    [{roles => ['owner']}, qr/the function x: unknown role owner: the roles are account mailbox admin/],
    [{params => [{name => 'p', typ => 'string'}]}, qr/the function x: a parameter: unknown key typ: the keys are name type required help/],
    [{params => [{name => 'p', type => 'text'}]}, qr/the function x: a parameter: unknown type text: the types are string/],
    [{params => ['p']}, qr/the function x: a parameter must be a hash with a name/],
) {
    my ($about, $says) = @$wrong;
    eval { $module->uapi('x', %$about, do => sub { }) };
    like($@, qr/$says.* at t\/06-module.t line/, "refused: $says");
}

# An argument comes back as it was sent, also after JSON.
for my $text ('plain', 'é', 'Grüße', '日本', 'Ã©', "\x{1f600}", '12', '007', '1.10') {
    my $argument = $text;
    utf8::encode($argument);
    my $stored = JSON::PP->new->utf8->encode({text => $argument});
    for my $kept ($argument, JSON::PP->new->utf8->decode($stored)->{text}, $text) {
        next if $kept eq $text && $text eq 'Ã©';    # As characters, it is the same string as another argument.
        is(LiveAPI::Module::_clean($kept, 0), $text, 'text is text');
    }
}

my $surrogate = "\xed\xa0\x80";
utf8::downgrade($surrogate);
is_deeply(LiveAPI::Module::_clean([$surrogate, "\x{d800}", "\x{ffff}é", "\xc3\xa9"], 0)->[0], {'$base64' => '7aCA'}, 'half a surrogate pair goes as bytes');
is(ref LiveAPI::Module::_clean("\x{d800}", 0), 'HASH', 'as a character too');

# A child process that a function forked must not continue to serve.
{
    my $script = <<'END';
use LiveAPI::Module;
my $m = LiveAPI::Module->new(name => 'M');
$m->uapi('fork', do => sub { my $pid = fork; if (!$pid) { die "child\n" } waitpid $pid, 0; $\ = "x"; print ""; return $? >> 8 });
$m->serve;
END
    local $ENV{LIVEAPI_MODULE} = 'M';
    require IPC::Open3;
    my ($to, $from);
    my $pid = IPC::Open3::open3($to, $from, '>&STDERR', $^X, '-Ilib', '-e', "close STDERR; open STDERR, '>', '/dev/null'; $script");
    my $say = sub { print {$to} length($_[0]) . "\n$_[0]"; $to->flush };
    my $hear = sub { my ($n, $json) = (scalar readline $from); read $from, $json, $n; return JSON::PP->new->decode($json) };
    $say->('{"describe":{}}');
    is($hear->()->{modules}[0]{name}, 'M', 'a script describes itself');
    for my $id (1 .. 3) {
        $say->(qq({"call":{"id":"$id","api":3,"func":"fork","args":{}}}));
        is_deeply($hear->(), {id => "$id", data => 1, messages => [], warnings => []}, "call $id has its own answer");
    }
    close $to;
    waitpid $pid, 0;
    is($?, 0, 'and it ends with its host');
}

# A custom UAPI module, as on a cPanel server.
my $dir = File::Temp->newdir;
open my $out, '>:encoding(UTF-8)', "$dir/Tried.pm" or die $!;
print {$out} <<'END';
package Cpanel::API::Tried;
use strict;
use warnings;
use Cpanel ();
use List::Util qw(first sum);
our %API = (guarded => {needs_feature => 'guards'});
sub BEGINNING { 1 }
sub _private { 1 }
sub look {
    my ($args, $result) = @_;
    my ($a, $b) = $args->get('a', 'b');
    $result->data({a => $a, b => $b, e => [map { $args->exists($_) } qw(a b c)], user => $Cpanel::user,
        home => $Cpanel::homedir, dns => $Cpanel::CPDATA{DNS}, plan => $Cpanel::CPDATA{PLAN}, env => "$ENV{HOME} $ENV{REMOTE_USER}"});
    $result->message('m [_1] ~[_2] [_2]', 'x', 'y');
    $result->warning('w');
    $result->metadata('k', 'v');
    $result->raw_message('raw [_1]');
    return 1;
}
sub need { my ($args, $result) = @_; my ($a, $b) = $args->get_length_required('a', 'b'); $result->data("$a$b"); return 1 }
sub need_any { my ($args, $result) = @_; $result->data($args->get_required('a')); return 1 }
sub list { my ($args, $result) = @_; $result->data(1, 2, 3); return 1 }
sub fail { my ($args, $result) = @_; $result->error('first [_1]', 1); $result->raw_error('second [_1]'); return 0 }
sub silent { return }
sub guarded { return 1 }
1;
END
close $out or die $!;
my $custom = LiveAPI::Module::Custom->load('Tried', "$dir/Tried.pm");
is_deeply([map { $_->{name} . ($_->{feature} ? " $_->{feature}" : '') } @{$custom->answer({describe => {}})->{modules}[0]{functions}}],
    ['fail', 'guarded guards', 'list', 'look', 'need', 'need_any', 'silent'], 'its own public functions, and no others');
$answer = $custom->answer(request('look', {a => 'x', b => undef}, account => {data => {PLAN => 'gold'}}));
is_deeply($answer, {
    data => {a => 'x', b => undef, e => [1, 1, 0], user => 'alice', home => '/home/alice', dns => 'a.example', plan => 'gold', env => '/home/alice alice'},
    messages => ['m x [_2] y', 'raw [_1]'], warnings => ['w'], metadata => {k => 'v'},
}, 'what the objects give and take');
is($custom->answer(request('need', {a => 1, b => 0}))->{data}, '10', 'arguments that have to be there');
for my $args ({b => 1}, {a => undef, b => 1}, {a => '', b => 1}) {
    is_deeply($custom->answer(request('need', $args)), {error => {kind => 'invalid', message => 'Provide the ‘a’ argument.'}}, 'and are not');
}
is($custom->answer(request('need_any', {a => ''}))->{data}, '', 'required, and empty');
is_deeply($custom->answer(request('list', {}))->{data}, [1, 2, 3], 'a list as data');
is_deeply($custom->answer(request('fail', {})), {error => {kind => 'failed', message => "first 1\nsecond [_1]"}}, 'errors');
is_deeply($custom->answer(request('silent', {})), {error => {kind => 'failed', message => 'The function failed and gave no reason.'}}, 'failure without a word');

for my $gate (q({match => 'any'}), q(['f']), q('')) {
    open my $odd, '>', "$dir/Odd.pm" or die $!;
    print {$odd} "package Cpanel::API::Odd; our %API = (f => {needs_feature => $gate}); sub f { 1 } 1;";
    close $odd;
    delete $INC{"$dir/Odd.pm"};
    no warnings 'redefine';
    ok(!eval { LiveAPI::Module::Custom->load('Odd', "$dir/Odd.pm"); 1 }, "a gate that can't be understood: $gate");
    like($@, qr/needs_feature must be/, 'and it says so');
}
open my $all, '>', "$dir/All.pm" or die $!;
print {$all} "package Cpanel::API::All; our %API = (_needs_feature => 'all'); sub f { 1 } 1;";
close $all;
is(LiveAPI::Module::Custom->load('All', "$dir/All.pm")->answer({describe => {}})->{modules}[0]{functions}[0]{feature}, 'all', 'a gate for all functions');

done_testing;

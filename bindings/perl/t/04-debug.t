use strict;
use warnings;
use Test::More;

use File::Temp ();
use Cpanel::LiveAPI ();

my $home = File::Temp->newdir;
local $ENV{HOME} = "$home";
my $api = bless {debug => 0}, 'Cpanel::LiveAPI';

is($api->get_debug_level, 0, 'off at first');
is($api->debug_log(9, 'nothing'), 0, 'and then nothing is written');
my $log = $api->get_debug_log;
like($log, qr{\A\Q$home\E/\.cpanel/LiveAPI\.log\.[0-9a-f]{16}\z}, 'the path');
ok(!-e $log, 'no file yet');
is($api->set_debug(2), 1, 'on');
is($api->get_debug_level, 2, 'at its level');
is($api->debug_log(1, 'too low'), 0, 'a lower level is not written');
is($api->debug_log(2, "a\nb\x{263a}"), 1, 'the same level is');
is($api->debug_log_json({a => 1}), 1, 'a reference as JSON');
is($api->debug_log_json('{"b":2}'), 1, 'a text as it is');
open my $in, '<', $log or die $!;
my @lines = <$in>;
is(scalar @lines, 3, 'a line each');
like($lines[0], qr/\A\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\] a\\x0ab\xe2\x98\xba\n\z/, 'control characters are escaped');
like($lines[1], qr/\] \{"a":1\}\n/, 'JSON');
is((stat $log)[2] & oct('777'), oct('600'), 'for the user alone');
for my $case (['true', 3, 1, 1], [1, 3, 1, 1], ['false', 3, 1, 0], ['0', 3, 1, 0], [undef, 3, 1, 0], ['true', 1, 0, 0], ['true', 0, 1, 1], ['false', 0, 0, 0]) {
    my ($stderr, $level, $written, $shown) = @{$case};
    my $errors = '';
    open my $saved, '>&', \*STDERR or die $!;
    close STDERR;
    open STDERR, '>', \$errors or die $!;
    my $got = $api->debug_log($level, 'shown?', $stderr);
    close STDERR;
    open STDERR, '>&', $saved or die $!;
    my $name = 'level ' . $level . ', stderr ' . (defined $stderr ? $stderr : 'not given');
    is($got, $written, "$name: the result");
    is($errors =~ /shown\?/ ? 1 : 0, $shown, "$name: standard error");
}
open $in, '<', $log or die $!;
is(scalar(grep {/shown/} <$in>), 5, 'level 0 is not in the log');
is($api->set_debug(0), 1, 'off again');
is($api->debug_log(9, 'x'), 0, 'and quiet');

done_testing;

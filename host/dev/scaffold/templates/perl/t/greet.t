use strict;
use warnings;
use Test::More;

use FindBin ();

my $module = do "$FindBin::Bin/../module.pl" or die $@ || $!;

sub call {
    my ($function, %args) = @_;
    return $module->answer({call => {
        id => 'test', api => 3, module => '<%.Name%>', func => $function, args => \%args, role => 'account',
        account => {name => 'alice', home => '/home/alice', domains => ['example.com']},
    }});
}

is_deeply(call('greet', name => 'Zoe')->{data}, {greeting => 'Hello, Zoe! You are alice.'}, 'a greeting');
is(call('greet', name => 'x' x 81)->{error}{kind}, 'invalid', 'a long name is refused');

done_testing;

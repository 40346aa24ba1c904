# The module <%.Name%>. Edit it: a host in personal mode serves each change at the next call.

use strict;
use warnings;

use LiveAPI::Module;

my $module = LiveAPI::Module->new(name => '<%.Name%>', help => 'Greetings.');

$module->uapi('greet',
    help    => 'Greet a person.',
    returns => 'The greeting.',
    example => {greeting => 'Hello, World! You are alice.'},
    params  => [{name => 'name', required => 1, help => 'The name of the person.'}],
    do      => sub {
        my ($call) = @_;
        my $name = $call->get('name');
        $call->fail('The ‘name’ argument must have at most 80 bytes.') if length $name > 80;
        return {greeting => "Hello, $name! You are " . $call->user . '.'};
    },
);

# The test loads this file without serving it.
$module->serve if !caller;

$module;

# A module in Perl. It stores an account's notes in its home directory.

use strict;
use warnings;

use LiveAPI::Module;

my $most   = 100;
my $module = LiveAPI::Module->new(name => 'Notes', help => 'Notes of the account.');

sub file { my ($call) = @_; return $call->home . '/.notes' }

sub notes {
    my ($call) = @_;
    open my $in, '<', file($call) or return;
    chomp(my @notes = <$in>);
    return @notes;
}

$module->configure(sub {
    my ($settings) = @_;
    $most = $settings->{most} if defined $settings->{most};
});

$module->uapi('add',
    help    => 'Keep a note.',
    returns => 'The number of notes.',
    changes => 1,
    params  => [{name => 'text', required => 1, help => 'The note, one line.'}],
    do      => sub {
        my ($call) = @_;
        my $text = $call->get('text');
        $call->fail("The \xe2\x80\x98text\xe2\x80\x99 argument must be one line.") if $text =~ /[\r\n]/;
        my $count = () = notes($call);
        $call->fail("$count notes are stored, which is the limit.", 'failed') if $count >= $most;
        open my $out, '>>', file($call) or die file($call) . ": $!\n";
        print {$out} "$text\n" or die "write: $!\n";
        close $out or die "write: $!\n";
        return $count + 1;
    },
);

$module->uapi('list',
    help    => 'List the notes.',
    returns => 'A list of records with text.',
    do      => sub { my ($call) = @_; return [map { {text => $_} } notes($call)] },
);

$module->serve;

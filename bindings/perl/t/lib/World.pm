package World;

# A sandbox with a real host, for tests. LIVEAPI_BIN names the directory of the programs.

use strict;
use warnings;

use File::Temp ();
use IO::Socket::UNIX ();
use Socket ();

sub new {
    my ($class) = @_;
    my $bin  = $ENV{LIVEAPI_BIN} or return;
    my $temp = File::Temp->newdir(TMPDIR => 1);
    my $self = bless {bin => $bin, temp => $temp, dir => "$temp/s", owner => $$}, $class;
    $self->run('liveapi', 'sandbox', $self->{dir});
    $self->no_policy("$self->{dir}/liveapid.toml");
    $self->{socket} = "$self->{dir}/run/liveapi.sock";
    @ENV{qw(LIVEAPID_CONFIG LIVEAPID HOME)} = ("$self->{dir}/liveapid.toml", "$bin/liveapid", $self->{dir});
    delete @ENV{qw(CPANEL_CONNECT_SOCKET CPANEL_PHPCONNECT_SOCKET LIVEAPI_SOCKET)};
    return $self;
}

# The tests use passwords that are easy to tell apart.
sub no_policy {
    my ($self, $config) = @_;
    open my $in, '<', $config or die "$config: $!";
    my $text = join '', <$in>;
    close $in;
    $text =~ s/^required_strength = 25/required_strength = 0/m or die "$config sets no required_strength";
    open my $out, '>', $config or die "$config: $!";
    print {$out} $text;
    close $out or die "$config: $!";
    return;
}

sub run {
    my ($self, $program, @args) = @_;
    open my $null, '>', '/dev/null' or die $!;
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        open STDOUT, '>&', $null;
        exec {"$self->{bin}/$program"} $program, @args or die "$program: $!";
    }
    waitpid $pid, 0;
    die "$program: status $?" if $?;
    return;
}

sub serve {
    my ($self) = @_;
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if (!$pid) {
        open STDERR, '>', "$self->{dir}/log";
        exec {"$self->{bin}/liveapid"} 'liveapid', 'serve' or die "liveapid: $!";
    }
    $self->{host} = $pid;
    for (1 .. 3000) {
        return if IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(), Peer => $self->{socket});
        select undef, undef, undef, 0.02;
    }
    die "the host does not listen on $self->{socket}";
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{host} or return;
    local $?;
    kill 'TERM', $pid;
    waitpid $pid, 0;
    return;
}

sub DESTROY { $_[0]->stop if $_[0]{owner} == $$; return }

1;

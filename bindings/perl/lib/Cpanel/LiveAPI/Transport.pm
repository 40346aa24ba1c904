package Cpanel::LiveAPI::Transport;

use strict;
use warnings;
use 5.016;

use IO::Handle       ();
use IO::Socket::UNIX ();
use IPC::Open2       ();
use Socket           ();

our $VERSION = '0.1.0';

my $DEFAULT_SOCKET = '/run/liveapid/liveapi.sock';

# On a cPanel server the first of these is set.
sub find {
    my ($class) = @_;
    for my $name (qw(CPANEL_CONNECT_SOCKET CPANEL_PHPCONNECT_SOCKET LIVEAPI_SOCKET)) {
        my $path = $ENV{$name};
        return $class->socket($path) if defined $path && length $path;
    }
    # A configuration that is named has a host of its own.
    my $configured = defined $ENV{LIVEAPID_CONFIG} && length $ENV{LIVEAPID_CONFIG};
    if (!$configured && -S $DEFAULT_SOCKET) {
        my $transport = eval { $class->socket($DEFAULT_SOCKET) };
        return $transport if $transport;    # Else a host that died left it.
    }
    my $program = $ENV{LIVEAPID};
    return $class->process(defined $program && length $program ? $program : 'liveapid');
}

sub socket {
    my ($class, $path) = @_;
    my $socket = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(), Peer => $path)
        or die "liveapi: $path: no LiveAPI host can be reached there: $!\n";
    return bless {name => $path, in => $socket, out => $socket}, $class;
}

sub process {
    my ($class, $program) = @_;
    my ($in, $out);
    my $pid = eval { IPC::Open2::open2($in, $out, $program, 'stdio') }
        or die "liveapi: $program: the LiveAPI host can't be started; set LIVEAPID to the liveapid program,"
        . " or CPANEL_CONNECT_SOCKET to the socket of a host that runs\n";
    return bless {name => "$program stdio", in => $in, out => $out, pid => $pid, owner => $$}, $class;
}

sub name { return $_[0]{name} }

sub send {
    my ($self, $bytes) = @_;
    return 0 if !$self->{out};
    local $SIG{PIPE} = 'IGNORE';
    my $at = 0;
    while ($at < length $bytes) {
        my $sent = syswrite $self->{out}, $bytes, length($bytes) - $at, $at;
        next if !defined $sent && $!{EINTR};
        return 0 if !$sent;
        $at += $sent;
    }
    return 1;
}

sub receive {
    my ($self) = @_;
    return '' if !$self->{in};
    while (1) {
        my $bytes = '';
        my $got = sysread $self->{in}, $bytes, 65536;
        next if !defined $got && $!{EINTR};
        return $got ? $bytes : '';
    }
}

sub close {
    my ($self) = @_;
    for my $stream (delete @{$self}{qw(out in)}) {
        CORE::close($stream) if $stream && defined fileno $stream;
    }
    my $pid = delete $self->{pid};
    # A fork of this program has the pid too, and no child of that number.
    if ($pid && $self->{owner} == $$) {
        local $?;
        waitpid $pid, 0;
    }
    return;
}

sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);
    $self->close;
    return;
}

1;

__END__

=head1 NAME

Cpanel::LiveAPI::Transport - the way to a LiveAPI host

=head1 DESCRIPTION

A two-way stream of bytes: a UNIX socket, or the pipes of a host of one's own.
L<Cpanel::LiveAPI> is what programs use.

=head1 METHODS

=head2 find

Finds the host: the socket that C<CPANEL_CONNECT_SOCKET>, C<CPANEL_PHPCONNECT_SOCKET> or
C<LIVEAPI_SOCKET> names; F</run/liveapid/liveapi.sock> where it is there and no
C<LIVEAPID_CONFIG> names another host's configuration; or else a
C<liveapid stdio> of its own (C<LIVEAPID> names the program).

=head2 socket($path)

Connects to a socket, or dies.

=head2 process($program)

Starts a host for this session alone, or dies.

=head2 name

Whom one talks to, for messages.

=head2 send($bytes)

Sends all bytes; false where the host has hung up.

=head2 receive

The bytes that come next; the empty string where there are no more.

=head2 close

Hangs up, and waits for the host that C<process> started. Safe to call again.

=cut

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

# A cPanel server sets the first two.
sub find {
    my ($class) = @_;
    for my $name (qw(CPANEL_CONNECT_SOCKET CPANEL_PHPCONNECT_SOCKET LIVEAPI_SOCKET)) {
        my $path = $ENV{$name};
        return $class->socket($path) if defined $path && length $path;
    }
    # LIVEAPID_CONFIG names a configuration of another host.
    my $configured = defined $ENV{LIVEAPID_CONFIG} && length $ENV{LIVEAPID_CONFIG};
    if (!$configured && -S $DEFAULT_SOCKET) {
        my $transport = eval { $class->socket($DEFAULT_SOCKET) };
        return $transport if $transport;    # Otherwise the socket was left by a host that crashed.
    }
    my $program = $ENV{LIVEAPID};
    return $class->process(defined $program && length $program ? $program : 'liveapid');
}

sub socket {
    my ($class, $path) = @_;
    # The match allows the path in programs that run with -T, as those of cPanel's documentation may. A path
    # from the environment is only connected to, and the user who runs the program sets it.
    ($path) = $path =~ /\A(.*)\z/s;
    my $socket = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(), Peer => $path)
        or die "liveapi: $path: could not connect to a LiveAPI host: $!\n";
    return bless {name => $path, in => $socket, out => $socket}, $class;
}

sub process {
    my ($class, $program) = @_;
    my ($in, $out);
    my $pid = eval { IPC::Open2::open2($in, $out, $program, 'stdio') }
        or die "liveapi: $program: could not start the LiveAPI host; set LIVEAPID to the liveapid program,"
        . " or CPANEL_CONNECT_SOCKET to the socket of a running host\n";
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
    my $bytes = '';
    my $got;
    do { $got = sysread $self->{in}, $bytes, 65536 } while !defined $got && $!{EINTR};
    return $got ? $bytes : '';
}

sub close {
    my ($self) = @_;
    for my $stream (delete @{$self}{qw(out in)}) {
        CORE::close($stream) if $stream && defined fileno $stream;
    }
    my $pid = delete $self->{pid};
    # A forked child of this program has the pid too, but must not wait for it.
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

Cpanel::LiveAPI::Transport - connect to a LiveAPI host

=head1 DESCRIPTION

A two-way stream of bytes: a UNIX socket, or the pipes of a host that was started for this
session. Programs use L<Cpanel::LiveAPI>.

=head1 METHODS

=head2 find

Connects to the socket in C<CPANEL_CONNECT_SOCKET>, C<CPANEL_PHPCONNECT_SOCKET> or
C<LIVEAPI_SOCKET>. If none is set, connects to F</run/liveapid/liveapi.sock>, unless
C<LIVEAPID_CONFIG> names another host's configuration. If that fails too, starts
C<liveapid stdio> (C<LIVEAPID> names the program).

=head2 socket($path)

Connects to a socket, or dies.

=head2 process($program)

Starts a host for this session, or dies.

=head2 name

Returns the host's name for messages: the socket's path or the program.

=head2 send($bytes)

Sends all bytes. Returns false if the host closed the connection.

=head2 receive

Returns the next bytes, or the empty string at the end.

=head2 close

Closes the connection, and waits for the host that C<process> started. May be called again.

=cut

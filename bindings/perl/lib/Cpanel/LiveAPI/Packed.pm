package Cpanel::LiveAPI::Packed;

use strict;
use warnings;
use 5.016;

use Carp     ();
use JSON::PP ();

use Cpanel::LiveAPI::Codec ();

our $VERSION  = '0.1.0';
our @CARP_NOT = ('Cpanel::LiveAPI');    # croak reports the line in the program.

use constant {ENABLE => '<cpanelmsgpack enable="1">'};

my $DEPTH      = 32;
my $MAX_ANSWER = 128 << 20;

# The socket in cPanel's variables may belong to a cPanel server, which does not know
# MessagePack. If the variables name liveapid's socket, set LIVEAPI_ENCODING=msgpack too.
sub available {
    my $encoding = defined $ENV{LIVEAPI_ENCODING} ? $ENV{LIVEAPI_ENCODING} : '';
    my $upstream = grep { defined $ENV{$_} && length $ENV{$_} } qw(CPANEL_CONNECT_SOCKET CPANEL_PHPCONNECT_SOCKET);
    return 0 if $encoding ne 'msgpack' && ($encoding ne '' || $upstream);
    local $@;
    return eval { require Data::MessagePack; 1 } ? 1 : 0;
}

sub request {
    my ($id, $version, $module, $func, $args) = @_;
    my $map = {
        id     => $id + 0,
        api    => _value($version, 0),
        module => _value($module, 0),
        func   => _value($func, 0),
    };
    $map->{args} = _value($args, 0) if defined $args;
    return Cpanel::LiveAPI::Codec::frame(Data::MessagePack->pack($map));
}

sub tag {
    my ($id, $tag) = @_;
    return Cpanel::LiveAPI::Codec::frame(Data::MessagePack->pack({id => $id + 0, tag => _value($tag, 0)}));
}

# Reads one answer and returns it. Bytes after the answer stay in $$rest.
sub read_answer {
    my ($transport, $rest) = @_;
    my ($from, $length);
    while (!defined $length) {
        if ($$rest =~ /\A[\r\n]*([0-9]{1,10})\n/) {
            ($from, $length) = ($+[0], $1);
            last;
        }
        _fail($transport, 'the response is not a LiveAPI answer: its length is missing')
            if $$rest !~ /\A[\r\n]*[0-9]{0,10}\z/;
        _more($transport, $rest);
    }
    _fail($transport, 'the response is not a LiveAPI answer: it does not end') if $length > $MAX_ANSWER;
    _more($transport, $rest) while length($$rest) < $from + $length;
    my $document = substr $$rest, $from, $length;
    substr $$rest, 0, $from + $length, '';
    my $answer = eval { Data::MessagePack->unpack($document) };
    my $result = ref $answer eq 'HASH' ? $answer->{result} : undef;
    _fail($transport, 'the response is not a LiveAPI answer: it has no result') if ref $result ne 'HASH';
    $result = Cpanel::LiveAPI::Codec::in_bytes($result);
    return exists $result->{cpanelresult} ? $result : {cpanelresult => $result};
}

sub _more {
    my ($transport, $rest) = @_;
    my $bytes = $transport->receive;
    if ($bytes eq '') {
        my $got = length $$rest;
        _fail($transport, "the host closed the session after $got bytes of an answer");
    }
    $$rest .= $bytes;
    return;
}

sub _fail {
    my ($transport, $why) = @_;
    die 'liveapi: ' . $transport->name . ": $why\n";
}

sub _value {
    my ($value, $depth) = @_;
    Carp::croak("the arguments are nested deeper than $DEPTH, or contain themselves") if $depth > $DEPTH;
    return $value if !defined $value;
    my $type = ref $value;
    return Cpanel::LiveAPI::Codec::text_bytes($value) if $type eq '';
    if ($type eq 'HASH') {
        return {map { Cpanel::LiveAPI::Codec::text_bytes($_) => _value($value->{$_}, $depth + 1) } keys %$value};
    }
    return [map { _value($_, $depth + 1) } @$value] if $type eq 'ARRAY';
    return $$value ? 1 : 0 if $type eq 'SCALAR' || JSON::PP::is_bool($value);
    Carp::croak("an argument of type $type can't be sent: use text, numbers, undef, hashes and arrays");
}

1;

__END__

=head1 NAME

Cpanel::LiveAPI::Packed - the LiveAPI protocol in MessagePack

=head1 DESCRIPTION

An extension of liveapid. It is used if L<Data::MessagePack> is installed and the host
supports it. Programs use L<Cpanel::LiveAPI>.

=head1 FUNCTIONS

=head2 available

Tells whether the client may ask for MessagePack. If cPanel's variables name the socket, it may
only if C<LIVEAPI_ENCODING=msgpack> is set. C<LIVEAPI_ENCODING=json> turns MessagePack off.

=head2 request($id, $version, $module, $function, $args)

Returns the frame of a call.

=head2 tag($id, $tag)

Returns the frame of a tag.

=head2 read_answer($transport, \$rest)

Reads one answer and returns it, always with the level C<cpanelresult>. Dies if the stream
ends first.

=head1 CONSTANTS

=head2 ENABLE

The payload that requests MessagePack.

=cut

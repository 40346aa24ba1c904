package Cpanel::LiveAPI::Packed;

use strict;
use warnings;
use 5.016;

use Carp     ();
use JSON::PP ();

use Cpanel::LiveAPI::Codec ();

our $VERSION  = '0.1.0';
our @CARP_NOT = ('Cpanel::LiveAPI');    # Misuse is reported at the program's line.

use constant {ENABLE => '<cpanelmsgpack enable="1">'};

my $DEPTH      = 32;
my $MAX_ANSWER = 128 << 20;

# A socket that cPanel's variables name may be a cPanel server's, which must not be asked;
# whoever sets them for liveapid sets LIVEAPI_ENCODING=msgpack too.
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

# Reads one answer and returns it. What came after it stays in $$rest.
sub read_answer {
    my ($transport, $rest) = @_;
    my ($from, $length);
    while (!defined $length) {
        if ($$rest =~ /\A[\r\n]*([0-9]{1,10})\n/) {
            ($from, $length) = ($+[0], $1);
            last;
        }
        _fail($transport, 'what came is no LiveAPI answer: its length is missing')
            if $$rest !~ /\A[\r\n]*[0-9]{0,10}\z/;
        _more($transport, $rest);
    }
    _fail($transport, 'what came is no LiveAPI answer: it does not end') if $length > $MAX_ANSWER;
    _more($transport, $rest) while length($$rest) < $from + $length;
    my $document = substr $$rest, $from, $length;
    substr $$rest, 0, $from + $length, '';
    my $answer = eval { Data::MessagePack->unpack($document) };
    my $result = ref $answer eq 'HASH' ? $answer->{result} : undef;
    _fail($transport, 'what came is no LiveAPI answer: it holds no result') if ref $result ne 'HASH';
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
    Carp::croak("the arguments are nested deeper than $DEPTH, or hold themselves") if $depth > $DEPTH;
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

Cpanel::LiveAPI::Packed - the wire in MessagePack

=head1 DESCRIPTION

An extension of liveapid, used where L<Data::MessagePack> is installed and the host speaks
it too. L<Cpanel::LiveAPI> is what programs use.

=head1 FUNCTIONS

=head2 available

Tells whether it can be asked for: not on a socket that cPanel's variables name, unless
C<LIVEAPI_ENCODING=msgpack> says that it is liveapid's. C<LIVEAPI_ENCODING=json> keeps to
JSON everywhere.

=head2 request($id, $version, $module, $function, $args)

Returns the frame that asks for one call.

=head2 tag($id, $tag)

Returns the frame that sends a tag.

=head2 read_answer($transport, \$rest)

Reads one answer and returns it, always with the level C<cpanelresult>; dies where the
stream ends first.

=head1 CONSTANTS

=head2 ENABLE

The payload that asks for MessagePack.

=cut

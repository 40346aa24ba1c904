package Cpanel::LiveAPI::Codec;

use strict;
use warnings;
use 5.016;

use Carp     ();
use JSON::PP ();

our $VERSION  = '0.1.0';
our @CARP_NOT = ('Cpanel::LiveAPI');    # croak reports the line in the program.

use constant {
    ENABLE_JSON => '<cpaneljson enable="1">',
    SHUTDOWN    => '<cpanelxml shutdown="1" />',
};

my $OPEN       = '<cpanelresult>';
my $CLOSE      = '</cpanelresult>';
my $DEPTH      = 32;
my $MAX_ANSWER = 128 << 20;    # Bytes. A host's own limit is far lower.

sub frame {
    my ($payload) = @_;
    return length($payload) . "\n" . $payload;
}

sub action {
    my ($type, $version, $module, $func, $args) = @_;
    my @pairs = (
        [reqtype => $type], [module => $module], [func => $func], [apiversion => $version],
    );
    my $json = join ',', map { _text($_->[0]) . ':' . _text($_->[1]) } @pairs;
    $json .= ',"args":' . _value($args, 0) if defined $args;
    return "<cpanelaction>\n{$json}\n</cpanelaction>";
}

# Reads one answer and returns its JSON. Bytes after the answer stay in $$rest.
sub read_answer {
    my ($transport, $rest) = @_;
    my $from = 0;
    my $end;
    while (($end = index $$rest, $CLOSE, $from) < 0) {
        $from = length($$rest) - length($CLOSE);
        $from = 0 if $from < 0;
        my $bytes = $transport->receive;
        if ($bytes eq '') {
            my $got = length $$rest;
            _fail($transport, "the host closed the session after $got bytes of an answer");
        }
        $$rest .= $bytes;
        _fail($transport, 'the response is not a LiveAPI answer: it does not end') if length($$rest) > $MAX_ANSWER;
    }
    my $start = index $$rest, $OPEN;
    if ($start < 0 || $start > $end) {
        _fail($transport, "the response is not a LiveAPI answer: it does not begin with $OPEN");
    }
    $start += length $OPEN;
    my $json = substr $$rest, $start, $end - $start;
    substr $$rest, 0, $end + length($CLOSE), '';
    $$rest =~ s/\A[\r\n]+//;
    return $json;
}

# Decodes an answer's JSON. Strings become UTF-8 bytes. Only API 2 answers have the level
# cpanelresult on the wire; it is added to API 1 and UAPI answers.
sub decode_answer {
    my ($json, $where) = @_;
    my $answer = eval { JSON::PP->new->utf8->decode($json) };
    die "liveapi: $where: the response is not a LiveAPI answer: it has no JSON object\n" if ref $answer ne 'HASH';
    $answer = in_bytes($answer);
    return exists $answer->{cpanelresult} ? $answer : {cpanelresult => $answer};
}

sub _fail {
    my ($transport, $why) = @_;
    die 'liveapi: ' . $transport->name . ": $why\n";
}

sub in_bytes {
    my ($value) = @_;
    if (ref $value eq 'HASH') {
        my %copy;
        while (my ($key, $item) = each %$value) {
            utf8::encode($key);
            $copy{$key} = in_bytes($item);
        }
        return \%copy;
    }
    return [map { in_bytes($_) } @$value] if ref $value eq 'ARRAY';
    return $value ? 1 : 0 if JSON::PP::is_bool($value);
    utf8::encode($value) if defined $value && utf8::is_utf8($value);
    return $value;
}

sub _value {
    my ($value, $depth) = @_;
    Carp::croak("the arguments are nested deeper than $DEPTH, or contain themselves") if $depth > $DEPTH;
    return 'null' if !defined $value;
    my $type = ref $value;
    return _text($value) if $type eq '';
    if ($type eq 'HASH') {
        my @pairs = map { _text($_) . ':' . _value($value->{$_}, $depth + 1) } sort keys %$value;
        return '{' . join(',', @pairs) . '}';
    }
    return '[' . join(',', map { _value($_, $depth + 1) } @$value) . ']' if $type eq 'ARRAY';
    return $$value ? '1' : '0' if $type eq 'SCALAR' || JSON::PP::is_bool($value);
    Carp::croak("an argument of type $type can't be sent: use text, numbers, undef, hashes and arrays");
}

# Perl has one type for bytes and text. A string marked as characters is encoded in UTF-8.
# Valid UTF-8 bytes are sent unchanged. Other bytes are read as Latin-1, as Perl does, and
# encoded in UTF-8.
sub text_bytes {
    my ($text) = @_;
    $text = "$text";
    if (utf8::is_utf8($text)) {
        utf8::encode($text);
    }
    else {
        my $copy = $text;
        utf8::encode($text) if !utf8::decode($copy);
    }
    return $text;
}

sub _text {
    my ($value) = @_;
    my $text = text_bytes($value);
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/([\x00-\x1f<>])/sprintf '\\u%04x', ord $1/ge;
    return qq{"$text"};
}

1;

__END__

=head1 NAME

Cpanel::LiveAPI::Codec - encode LiveAPI requests, decode answers

=head1 DESCRIPTION

Encodes and decodes the LiveAPI protocol. Programs use L<Cpanel::LiveAPI>.

=head1 FUNCTIONS

=head2 frame($payload)

Returns the payload, preceded by its length in bytes.

=head2 action($type, $version, $module, $function, $args)

Returns the payload of a call.

=head2 in_bytes($value)

Returns a copy of decoded data in which every string is UTF-8 bytes.

=head2 text_bytes($text)

Returns the bytes to send for a string.

=head2 read_answer($transport, \$rest)

Reads one answer and returns its JSON text. Dies if the stream ends first. C<$rest>
keeps the bytes that were read after the answer, for the next call.

=head2 decode_answer($json, $where)

Returns the answer as a hash reference, always with the level C<cpanelresult>. Strings
are UTF-8 bytes.

=head1 CONSTANTS

=head2 ENABLE_JSON

The first payload of a session.

=head2 SHUTDOWN

The last payload of a session.

=cut

use strict;
use warnings;
use Test::More;

use Cpanel::LiveAPI::Codec ();

# A stream with bytes from the test.
{
    package Stream;
    sub new { my ($class, @pieces) = @_; return bless {pieces => [@pieces]}, $class }
    sub name { return 'stream' }
    sub receive { my $piece = shift @{$_[0]{pieces}}; return defined $piece ? $piece : '' }
}

sub args {
    my ($args) = @_;
    my $action = Cpanel::LiveAPI::Codec::action('exec', '2', 'M', 'f', $args);
    my ($json) = $action =~ /,"args":(.*)\}\n<\/cpanelaction>\z/s;
    return $json;
}

is(Cpanel::LiveAPI::Codec::frame('abc'), "3\nabc", 'a frame');
is(args(undef), undef, 'no arguments, no key');
is(args({}),    '{}',  'an empty hash');
is(args([]),    '[]',  'an empty list');
is(args({b => 1, a => [undef, 'x', {}]}), '{"a":[null,"x",{}],"b":"1"}', 'nested, in order; every scalar is text');
is(args({a => \1, b => \0, c => JSON::PP::true()}), '{"a":1,"b":0,"c":1}', "cPanel's booleans");
is(args({p => qq{"\\\n\t\0</cpanelaction>}}), '{"p":"\"\\\\\u000a\u0009\u0000\u003c/cpanelaction\u003e"}', 'escapes');

is(args({p => "p\xc3\xa4"}),     qq{{"p":"p\xc3\xa4"}},         'bytes in UTF-8 go as they are');
is(args({p => "p\x{e4}"}),       qq{{"p":"p\xc3\xa4"}},         'a character of one byte');
is(args({p => "\x{1f600}"}),     qq{{"p":"\xf0\x9f\x98\x80"}}, 'a wide character');
my $characters = "\x{c3}\x{a4}";
utf8::upgrade($characters);
is(args({p => $characters}), qq{{"p":"\xc3\x83\xc2\xa4"}}, 'what Perl knows to be characters is not taken for bytes');
is(args({"k\xc3\xa4" => 1}), qq{{"k\xc3\xa4":"1"}}, 'names likewise');

my $loop = {};
$loop->{loop} = $loop;
ok(!eval { args($loop); 1 }, 'a loop is refused');
like($@, qr/nested deeper than 32/, 'and says so');
ok(!eval { args({a => sub { }}); 1 }, 'code is refused');
like($@, qr/an argument of type CODE can't be sent/, 'and says so');
delete $loop->{loop};

my $answer = qq{<?xml version="1.0" ?>\n<cpanelresult>{"a":"\xc3\xa4\\u2028"}</cpanelresult>\n};
for my $pieces ([$answer . $answer], [split(//, $answer), split(//, $answer)], [substr($answer, 0, 50), substr($answer, 50) . substr($answer, 0, 3), substr($answer, 3)]) {
    my ($stream, $rest) = (Stream->new(@$pieces), '');
    for (1 .. 2) {
        my $json = Cpanel::LiveAPI::Codec::read_answer($stream, \$rest);
        my $data = Cpanel::LiveAPI::Codec::decode_answer($json, 'stream');
        is_deeply($data, {cpanelresult => {a => "\xc3\xa4\xe2\x80\xa8"}}, 'an answer, its strings in bytes');
    }
    is($rest, '', 'nothing is left');
}
is_deeply(Cpanel::LiveAPI::Codec::decode_answer('{"cpanelresult":{"a":[1,true,null]}}', 's'), {cpanelresult => {a => [1, 1, undef]}}, 'API 2 has its level already');

for my $case (
    ['<?xml version="1.0" ?>', qr/closed the session after 22 bytes of an answer/],
    ['hello</cpanelresult>', qr/does not begin with <cpanelresult>/],
    )
{
    my ($text, $says) = @$case;
    my $rest = '';
    ok(!eval { Cpanel::LiveAPI::Codec::read_answer(Stream->new($text), \$rest); 1 }, 'a broken answer is refused');
    like($@, $says, 'and says why');
}
for my $json ('', '[]', '"x"', '{', 'nul') {
    ok(!eval { Cpanel::LiveAPI::Codec::decode_answer($json, 'there'); 1 }, "no object: '$json'");
    like($@, qr/there: the response is not a LiveAPI answer/, 'and says so');
}

done_testing;

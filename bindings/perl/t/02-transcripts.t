use strict;
use warnings;
use Test::More;

use JSON::PP ();
use Cpanel::LiveAPI ();

my $directory = $ENV{LIVEAPI_TRANSCRIPTS} or plan skip_all => 'LIVEAPI_TRANSCRIPTS names no directory of transcripts';

# A host that answers from a transcript and records requests.
{
    package Player;
    sub new { return bless {sent => [], next => []}, $_[0] }
    sub name    { return 'transcript' }
    sub send    { push @{$_[0]{sent}}, $_[1]; return 1 }
    sub receive { my $next = shift @{$_[0]{next}}; return defined $next ? $next : '' }
    sub close   { return }
}

sub unescape {
    my ($text) = @_;
    $text =~ s{\\(?:x(..)|(.))}{defined $1 ? chr hex $1 : {n => "\n", r => "\r", '\\' => '\\'}->{$2}}ge;
    return $text;
}

local $ENV{LIVEAPI_ENCODING} = 'json';    # The transcripts are in JSON.
my $replayed = 0;
for my $file (sort glob "$directory/*.txt") {
    open my $in, '<', $file or die "$file: $!";
    my @lines = <$in>;
    close $in or die "$file: $!";
    my (@steps, $method);
    for my $line (@lines) {
        chomp $line;
        if ($line =~ /\A# binding: (.*)/) { $method = JSON::PP->new->utf8->decode($1) }
        elsif ($line =~ /\AC: (.*)/ && $method) { push @steps, {method => $method, sent => unescape($1)}; undef $method }
        elsif ($line =~ /\AS: (.*)/ && @steps && !exists $steps[-1]{answer}) { $steps[-1]{answer} = $1 }
    }
    next if !@steps;
    $replayed++;
    my $player = Player->new;
    my $api;
    for my $step (@steps) {
        my ($method, @args) = @{$step->{method}};
        my $wire = qq{<?xml version="1.0" ?>\n<cpanelresult>$step->{answer}</cpanelresult>\n};
        @{$player->{sent}} = ();
        @{$player->{next}} = ($wire);
        my $got;
        if ($method eq 'new') { $api = Cpanel::LiveAPI->new(transport => $player) }
        else                  { $got = $api->$method(@args) }
        is_deeply($player->{sent}, [length($step->{sent}) . "\n" . $step->{sent}], "$file: $method sends what the transcript says")
            or diag explain $player->{sent};
        next if !ref $got;
        my $want = Cpanel::LiveAPI::Codec::decode_answer($step->{answer}, 'transcript');
        is_deeply($got, $want, "$file: $method returns the answer");
    }
}
ok($replayed >= 4, 'transcripts were replayed');

done_testing;
